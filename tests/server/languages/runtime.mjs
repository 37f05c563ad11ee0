// A Lambda runtime in a few lines: asks for invocations, calls the handler, answers.
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`;

async function say(path, said) {
  await fetch(`${api}${path}`, { method: "POST", body: JSON.stringify(said) });
}

function described(error) {
  return { errorType: error.name, errorMessage: error.message, trace: error.stack?.split("\n") };
}

const [file, name] = process.argv[2].split(":");
let handler;
try {
  handler = (await import(pathToFileURL(resolve(file)).href))[name];
} catch (error) {
  await say("/init/error", described(error));
  process.exit(1);
}

for (;;) {
  const taken = await fetch(`${api}/invocation/next`);
  const requestId = taken.headers.get("lambda-runtime-aws-request-id");
  const deadline = Number(taken.headers.get("lambda-runtime-deadline-ms"));
  const context = {
    awsRequestId: requestId,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    invokedFunctionArn: taken.headers.get("lambda-runtime-invoked-function-arn"),
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  process.env._X_AMZN_TRACE_ID = taken.headers.get("lambda-runtime-trace-id") ?? "";
  try {
    const answer = await handler(await taken.json(), context);
    await say(`/invocation/${requestId}/response`, answer ?? null);
  } catch (error) {
    await say(`/invocation/${requestId}/error`, described(error));
  }
}
