"""The planted defects: each was met in another system, and its report is named.

An anchor must be in its file exactly once. What is put there must be what somebody could have
written; a defect that any start-up would show plants nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

_SDK = ("tests/properties/test_planted_sdk.py",)
_STORES = ("tests/stores/test_store_rules.py",)
_PLANTED = "tests/properties/test_planted_engine.py"
_WRITER = (_PLANTED, "tests/stores/test_sqlite_writer.py")
_ENGINE = "tests/unit/engine/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One defect.

    Attributes:
        rule: the promise or rule of the design that it breaks.
        origin: where it was met.
        path: the file, within the package.
        tests: the files of tests that are about its place.
        unmet: why no simulated world can meet it, if none can.
        store: the store of the worlds that meet it, if not any.
    """

    name: str
    rule: str
    origin: str
    path: str
    find: str
    put: str
    tests: tuple[str, ...]
    unmet: str = ""
    store: str = ""


DEFECTS = (
    # The SDK half
    Defect(
        name="the START of an at-most-once step is not awaited",
        rule="P4",
        origin="java#659, rust#43",
        path="core/operations/step.py",
        find="yield Persist(op.start(), wait=_is_at_most_once(config))",
        put="yield Persist(op.start(), wait=False)",
        tests=_SDK,
    ),
    Defect(
        name="an interrupted at-most-once step is run again",
        rule="P4",
        origin="dbos-py#773",
        path="core/operations/step.py",
        find="not journal.began_here(op)",
        put="not op.id",
        tests=_SDK,
    ),
    Defect(
        name="the round trip is skipped on the first run",
        rule="P18",
        origin="js#236, osbuild-composer#4779",
        path="core/operations/values.py",
        find="return text, serdes.deserialize(text, context)",
        put="return text, value",
        tests=_SDK,
    ),
    Defect(
        name="a summary keeps counts instead of the status of each item",
        rule="R7, P12",
        origin="js#751, js#894, java#344",
        path="core/operations/batch.py",
        find="letters = summary.item_statuses",
        put=(
            'letters = ("S" * summary.success_count + "F" * summary.failure_count '
            '+ "-" * summary.started_count)'
        ),
        tests=_SDK,
    ),
    Defect(
        name="items are reported in the order of completion",
        rule="R7, P12",
        origin="py#533, dotnet#2476",
        path="core/operations/batch.py",
        find="all=tuple(_item(index, ends.get(index)) for index in range(fan_out.started)),",
        put="all=tuple(_item(index, ends[index]) for index in ends),",
        tests=_SDK,
    ),
    Defect(
        name="the check for orphans is dropped",
        rule="R2, I11",
        origin="py#640, py#641, js#927, js#176",
        path="core/scope.py",
        find="            if scope.is_closed:\n                return True\n",
        put="",
        tests=_SDK,
    ),
    Defect(
        name="a failure of the last checkpoints is swallowed",
        rule="R4, I14",
        origin="js#869, rust#43, java#51",
        path="drivers/tasks.py",
        find="        except UnrecoverableError as error:\n            return Broken(error)\n",
        put="        except UnrecoverableError:\n            return ending\n",
        tests=_SDK,
        unmet="drawn programs await what they ask for, so that nothing is left to be sent",
    ),
    Defect(
        name="a control-flow signal is an ordinary exception",
        rule="R6",
        origin="java#368, docs#131, temporal-py#524, resonate-py#429",
        path="errors.py",
        find="class DurableSignal(BaseException):",
        put="class DurableSignal(Exception):",
        tests=_SDK,
    ),
    Defect(
        name="a control-flow signal is not sticky: tasks",
        rule="R6",
        origin="java#369, java#645",
        path="drivers/tasks.py",
        find="        if self._ending is not None:\n            self._refuse(scope, suspended())",
        put="        if self._ending is self:\n            self._refuse(scope, suspended())",
        tests=("tests/unit/drivers/test_task_swallowing.py",),
        unmet=(
            "what is asked for after the signal is refused a second time, when it is to be recorded"
        ),
    ),
    Defect(
        name="a control-flow signal is not sticky: threads",
        rule="R6",
        origin="java#369, java#645",
        path="drivers/threads.py",
        find="if self._ending is None and not is_asleep:",
        put="if not is_asleep:",
        tests=_SDK,
        unmet="threads are not simulated",
    ),
    Defect(
        name="a replay is not compared with the record",
        rule="P13, I21",
        origin="js#418, java#297",
        path="core/journal.py",
        find="raise NonDeterministicExecutionError(_difference(op, record), operation_id=op.id)",
        put="return record",
        tests=_SDK,
    ),
    Defect(
        name="a late reply opens again what is over",
        rule="R10, I5",
        origin="dbos-py#801, dbos-py#818, dbos-ts#1207",
        path="core/journal.py",
        find="if known is None or (known != operation and not known.is_terminal):",
        put="if known != operation:",
        tests=_SDK,
    ),
    Defect(
        name="errors are classified by their text",
        rule="R5",
        origin="py#721, js#917, rust#66, dotnet#2571",
        path="errors.py",
        find="return 400 <= status < 500 and status != TooManyRequestsException.status",
        put='return "invalid" in message.lower()',
        tests=("tests/unit/test_error_classes.py",),
    ),
    Defect(
        name="NaN is written into payloads",
        rule="R12",
        origin="hatchet#4619, kestra#15647",
        path="serdes_json.py",
        find="return cls in _PLAIN or (cls is float and isfinite(value))",
        put="return cls in _PLAIN or cls is float",
        tests=("tests/unit/test_serdes.py",),
    ),
    # The service half: what decides
    Defect(
        name="PENDING is the default answer",
        rule="R3, I14",
        origin="js#865, js#867, js#418, js#614",
        path="engine/invocations.py",
        find="if execution.outstanding or execution.owed or is_owed:",
        put="if execution.outstanding or execution.owed or facts:",
        tests=(_ENGINE + "test_invocations.py",),
    ),
    Defect(
        name="a second answer to a callback overwrites the first",
        rule="R10, P8, I17",
        origin="dbos-py#773, dbos-py#801",
        path="engine/decisions.py",
        find="if execution.is_closed or operation.is_terminal or _is_overdue",
        put="if execution.is_closed or _is_overdue",
        tests=(_ENGINE + "test_outside.py",),
    ),
    Defect(
        name="an older invocation may still write",
        rule="P11, I8, I9",
        origin="dbos-py#742, aegra#547",
        path="engine/updates.py",
        find="        or invocation.epoch != command.epoch\n",
        put="",
        tests=(_ENGINE + "test_authority.py", _ENGINE + "test_updates.py"),
    ),
    Defect(
        name="a completion that the invocation did not hear of is lost",
        rule="R1, P8",
        origin="java#659, java#370, js#395, java#72",
        path="engine/endings.py",
        find="    if has_unseen(execution, end.seen):\n",
        put="    if has_unseen(execution, end.seen) and execution.failures:\n",
        tests=(_ENGINE + "test_invocations.py",),
    ),
    Defect(
        name="a name with another payload gives the execution that has it",
        rule="P1, I25",
        origin="dbos-py#804",
        path="engine/decisions.py",
        find="if execution.start.input_payload != command.input_payload:",
        put="if execution.started is None:",
        tests=(_ENGINE + "test_outside.py",),
    ),
    Defect(
        name="a callback id is taken without its MAC",
        rule="S04",
        origin="what durable systems have got wrong",
        path="engine/tokens.py",
        find="return is_ours and raw.hex() == callback_id",
        put="return len(mac) == len(nonce) and raw.hex() == callback_id",
        tests=(_ENGINE + "test_tokens.py",),
        unmet="a store finds callbacks by their whole ids, so it finds no forged one",
    ),
    Defect(
        name="an execution that crashes every worker is never parked",
        rule="P15",
        origin="dbos-py#716, dbos-java#491",
        path="engine/endings.py",
        find="if failures >= policy.park_after:",
        put="if failures == policy.park_after + 1:",
        tests=(_ENGINE + "test_invocations.py",),
    ),
    # The service half: the shell
    Defect(
        name="waiters are woken before what they wait for is durable",
        rule="R1, P2",
        origin="java#659, js#395",
        path="engine/journals.py",
        find="            await (transaction or self._store).append(plan.changes)\n",
        put=(
            "            self._act(plan)\n"
            "            await (transaction or self._store).append(plan.changes)\n"
        ),
        tests=(_ENGINE + "test_journals.py", _ENGINE + "test_sessions.py"),
    ),
    Defect(
        name="a call and the start of its child are two transactions",
        rule="P9, I7, I18",
        origin="hatchet#4619, dbos-java#493",
        path="engine/journals.py",
        find="plan.changes += (first_change(tip.execution, fact, self._policy, now),)",
        put=(
            "child = first_change(tip.execution, fact, self._policy, now)\n"
            "                    self.spawn(self._store.append((child,)))"
        ),
        tests=(_PLANTED,),
    ),
    Defect(
        name="work is noticed only when somebody says so",
        rule="R11, P14",
        origin="dbos-py#562, dbos-py#621, dbos-java#318, eventstore#309",
        path="engine/dispatcher.py",
        find="await wait_at_most(self._nudged, seconds, self._service.clock)",
        put="await self._nudged.wait()",
        tests=(_PLANTED,),
    ),
    Defect(
        name="leases go by the wall clock of the worker",
        rule="R13",
        origin="dbos-py#682, dbos-py#771, js#475",
        path="engine/leases.py",
        find="until = self._service.clock.now() + self._lease",
        put=(
            'until = __import__("datetime").datetime.now(__import__("datetime").UTC) + self._lease'
        ),
        tests=(_PLANTED,),
    ),
    # The stores
    Defect(
        name="a lease belongs to a worker's name: SQLite",
        rule="R8",
        origin="aegra#547, altinn-studio#18507, dbos-py#742",
        path="stores/sqlite_ledger.py",
        find="if head is None or head.owner != worker or head.epoch != epoch:",
        put="if head is None or head.owner != worker:",
        tests=_STORES,
        unmet="a lease that it keeps too long ends with its process, the only one on the file",
    ),
    Defect(
        name="a heartbeat is not fenced: memory",
        rule="R8, I9",
        origin="aegra#547, altinn-studio#18507",
        path="stores/memory.py",
        find="if execution is None or execution.owner != worker or execution.epoch != epoch:",
        put="if execution is None:",
        tests=_STORES,
    ),
    Defect(
        name="an owner's write is not fenced",
        rule="R8, P11, I9",
        origin="dbos-py#742, altinn-studio#18507",
        path="stores/admission.py",
        find="if change.expected_version != version or (wanted is not None and wanted != epoch):",
        put="if change.expected_version != version or (wanted is not None and epoch is None):",
        tests=_STORES,
        store="shared",
    ),
    Defect(
        name="claims whose lease ran out are never found again",
        rule="R9, P14",
        origin="dbos-py#716, dbos-py#804, dbos-py#785, dbos-java#491",
        path="stores/sql/sqlite.sql",
        find="AND wake_at <= ?2 ORDER BY",
        put="AND wake_at <= ?2 AND owner IS NULL ORDER BY",
        tests=_STORES,
        store="sqlite",
    ),
    Defect(
        name="synchronous=NORMAL",
        rule="P2",
        origin="what durable systems have got wrong; the official local runner",
        path="stores/sqlite_file.py",
        find='"PRAGMA synchronous = FULL",',
        put='"PRAGMA synchronous = NORMAL",',
        tests=("tests/stores/test_sqlite_file.py",),
        unmet="what a disk has acknowledged and lost, no simulated world sees",
    ),
    Defect(
        name="a commit that failed is tried again",
        rule="P2",
        origin="what durable systems have got wrong; fsyncgate",
        path="stores/sqlite_writer.py",
        find=(
            "        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait "
            "are told\n            self._fail(group, error)\n        self._commit_seconds"
        ),
        put=(
            "        except Exception:\n            try:\n                self._ledger.commit()\n"
            "            except Exception as error:\n                self._fail(group, error)\n"
            "        self._commit_seconds"
        ),
        tests=_WRITER,
        store="sqlite",
    ),
    Defect(
        name="an append is acknowledged before its commit",
        rule="P2, I6",
        origin="js#869, java#51",
        path="stores/sqlite_writer.py",
        find=(
            "        self._commit(group)\n        self._turn.release()\n"
            "        self._settle_from_thread(group)\n\n    def _write_late"
        ),
        put=(
            "        self._settle_from_thread(group)\n        self._commit(group)\n"
            "        self._turn.release()\n\n    def _write_late"
        ),
        tests=_WRITER,
        store="sqlite",
    ),
    Defect(
        name="a change that nobody waits for fails unheard",
        rule="R4, I6",
        origin="js#869, rust#43",
        path="stores/sqlite_writer.py",
        find="        if not handed.is_awaited:\n            for arn in handed.arns or ():\n",
        put="        if handed.future is not None:\n            for arn in handed.arns or ():\n",
        tests=_STORES,
        store="sqlite",
    ),
    Defect(
        name="half of a refused call is stored",
        rule="I7",
        origin="dbos-ts#1207",
        path="stores/sqlite_ledger.py",
        find=(
            "        heads = [self._admit(change) for change in changes]\n"
            "        for change, head in zip(changes, heads, strict=True):\n"
            "            self._add(change, head)\n"
        ),
        put=(
            "        for change in changes:\n            self._add(change, self._admit(change))\n"
        ),
        tests=_STORES,
        store="sqlite",
    ),
    Defect(
        name="retention looks at no version and no claim",
        rule="P16, I19",
        origin="what durable systems have got wrong",
        path="stores/sqlite_ledger.py",
        find="if head is None or head.version != expected_version or head.owner is not None:",
        put="if head is None:",
        tests=_STORES,
        store="sqlite",
    ),
    Defect(
        name="answers are taken over in the order of waking, not of writing",
        rule="R1",
        origin="java#659",
        path="engine/sessions.py",
        find="new_execution_state=ExecutionState(operations=push.operations if is_news else ()),",
        put="new_execution_state=ExecutionState(operations=push.operations),",
        tests=(_ENGINE + "test_sessions.py",),
    ),
    Defect(
        name="a child completes only an invoke that its own process knows of",
        rule="P9, P14",
        origin="a simulated world of several processes",
        path="engine/journals.py",
        find="if parent is None or not has_invoked(parent.execution, child):",
        put="if parent is None:",
        tests=(_ENGINE + "test_overtaken.py",),
        store="shared",
    ),
    Defect(
        name="what was captured counts as told",
        rule="P2, I6",
        origin="a simulated world of several processes",
        path="engine/news.py",
        find="        self._undelivered.clear()\n        self._told = self.heard\n",
        put="        self._undelivered.clear()\n",
        tests=(_ENGINE + "test_overtaken.py",),
    ),
    Defect(
        name="an invocation begins with what is only being written",
        rule="P2, P8",
        origin="java#659",
        path="engine/begins.py",
        find="            await tip.settle()\n            invocation",
        put="            invocation",
        tests=(_ENGINE + "test_durable_first.py",),
    ),
    Defect(
        name="an invocation begins with what its process knew before the claim",
        rule="P3, I1, I3",
        origin="chaos on PostgreSQL",
        path="engine/pins.py",
        find="is_read_now = tip.pins == 1 and tip.session is None",
        put="is_read_now = True",
        tests=(_ENGINE + "test_overtaken.py",),
        store="shared",
    ),
    Defect(
        name="an invocation of which nothing is written is told of by nobody",
        rule="P15",
        origin="chaos on PostgreSQL",
        path="engine/invocations.py",
        find="command.request_id is not None and not execution.is_closed:",
        put="False:",
        tests=(_ENGINE + "test_store_failures.py",),
        unmet="a fault explains every repeat, and no world looks for what a history lacks",
    ),
)
