// A Lambda runtime in a few lines: asks for invocations, calls the handler, answers.
import { get } from "node:http";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime`;

async function say(path, said) {
  await fetch(`${api}${path}`, { method: "POST", body: JSON.stringify(said) });
}

// Not by `fetch`, which waits for five minutes at most: it can take days until there is one.
function next() {
  return new Promise((resolve, reject) => {
    const collect = async (taken) => {
      let text = "";
      for await (const part of taken.setEncoding("utf8")) text += part;
      return { event: JSON.parse(text), headers: taken.headers };
    };
    get(`${api}/invocation/next`, (taken) => resolve(collect(taken))).on("error", reject);
  });
}

function described(error) {
  return { errorType: error.name, errorMessage: error.message, trace: error.stack?.split("\n") };
}

const [file, name] = process.argv[2].split(":");
let handler;
try {
  handler = (await import(pathToFileURL(resolve(file)).href))[name];
  if (typeof handler !== "function") throw new Error(`${file} exports no function ${name}`);
} catch (error) {
  await say("/init/error", described(error));
  process.exit(1);
}

for (;;) {
  const { event, headers } = await next();
  const requestId = headers["lambda-runtime-aws-request-id"];
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const context = {
    awsRequestId: requestId,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
  process.env._X_AMZN_TRACE_ID = headers["lambda-runtime-trace-id"] ?? "";
  try {
    const answer = await handler(event, context);
    await say(`/invocation/${requestId}/response`, answer ?? null);
  } catch (error) {
    await say(`/invocation/${requestId}/error`, described(error));
  }
}
