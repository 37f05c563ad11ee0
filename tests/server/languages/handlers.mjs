// Functions on the official SDK for JavaScript.
import { existsSync, writeFileSync } from "node:fs";
import { withDurableExecution } from "@aws/durable-execution-sdk-js";

export const quote = withDurableExecution(async (event, context) => {
  const net = await context.step("net", async () => event.pieces * 20);
  await context.wait("settle", { seconds: 1 });
  const gross = await context.step("gross", async () => Math.round(net * 1.2));
  return { net, gross };
});

export const chain = withDurableExecution(async (event, context) => {
  const answers = await context.map("ask", event.targets, async (ctx, target) =>
    ctx.invoke("call", target, event.payload),
  );
  return answers.getResults();
});

export const fragile = withDurableExecution(async (event, context) =>
  context.step("work", async () => {
    if (!existsSync("pid")) {
      writeFileSync("pid", String(process.pid));
      await new Promise((resolve) => setTimeout(resolve, 3_600_000)); // for its death
    }
    return "survived";
  }),
);
