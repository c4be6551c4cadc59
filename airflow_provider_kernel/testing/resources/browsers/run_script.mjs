// Runs one Playwright script, the body of a function, in the browser at an address. Request and result are JSON.
import * as module from 'node:module';
import * as vm from 'node:vm';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { playwright, address, code } = JSON.parse(Buffer.concat(chunks).toString());

const output = { stdout: [], stderr: [] };
const write = process.stdout.write.bind(process.stdout);
for (const name of ['stdout', 'stderr']) {
  process[name].write = (data, encoding, done) => {
    output[name].push(typeof data === 'string' ? data : Buffer.from(data).toString());
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback) process.nextTick(callback);
    return true;
  };
}

function finish(outcome) {
  const text = JSON.stringify({ ...outcome, stdout: output.stdout.join(''), stderr: output.stderr.join('') });
  write(text, () => process.exit(0));
}

function fail(error) {
  output.stderr.push(String(error?.stack ?? error));
  finish({ success: false, error: String(error?.message ?? error) });
}

process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

// All on one line in front of the code, so that the numbers of its lines stay.
function compile() {
  let source = `(async function (page, context, browser) {${code}\n})`;
  // It puts blanks in place of types. Node has it since 22.13: older ones take JavaScript only.
  if (module.stripTypeScriptTypes) source = module.stripTypeScriptTypes(source);
  return vm.runInThisContext(source, {
    filename: 'script.ts',
    importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
}

try {
  const script = compile();
  globalThis.require = module.createRequire(import.meta.url);
  const { chromium } = await import(playwright);
  const browser = await chromium.connectOverCDP(address);
  const context = browser.contexts()[0];
  const page = context.pages()[0] ?? (await context.newPage());
  finish({ success: true, result: (await script(page, context, browser)) ?? null });
} catch (error) {
  fail(error);
}
