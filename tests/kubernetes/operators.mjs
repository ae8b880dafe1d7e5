// Holds objects of the Prometheus operator and of cert-manager to their types: what a field may be by the validators that
// are made from them, and that there is no other field by the compiler, as the validators pass over those.
//
// Started by tests/kubernetes/operators.rs with the place of the modules; the objects come as a list on standard input.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const GROUPS = {
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
  "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
};
const [, , modules] = process.argv;
const ts = createRequire(path.join(modules, "package.json"))("typescript");
const objects = JSON.parse(readFileSync(0, "utf8"));
const problems = [];

for (const object of objects) {
  const kinds = await import(path.join(modules, "node_modules", GROUPS[object.apiVersion], "index.js"));
  try {
    new kinds[object.kind](object).validate();
  } catch (error) {
    problems.push(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}

// A literal may have no field that its type has not. The file is none on the disk, but where the modules are found.
const file = path.join(modules, "objects.ts");
const declared = (object, at) =>
  `import type { I${object.kind} as Kind${at} } from "${GROUPS[object.apiVersion]}";\n` +
  `export const object${at}: Kind${at} = ${JSON.stringify(object)};\n`;
const options = {
  module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, strict: true, noEmit: true, skipLibCheck: true, types: [],
};
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (name) => name === file || fileExists(name);
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, objects.map(declared).join(""), rest[0]) : getSourceFile(name, ...rest);
for (const { messageText } of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
  problems.push(ts.flattenDiagnosticMessageText(messageText, "\n"));
}

console.log(problems.join("\n"));
process.exitCode = problems.length > 0 ? 1 : 0;
