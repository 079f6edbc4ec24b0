// Prints the score that Mozilla's HTTP Observatory gives https://localhost, as JSON.
// The preload list that its installer would download is not needed to grade a local host.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const main = import.meta.resolve("@mdn/mdn-http-observatory");
writeFileSync(fileURLToPath(new URL("../conf/hsts-preload.json", main)), "{}");

const { scan } = await import(new URL("./scanner/index.js", main));
const { scan: total, tests } = await scan("localhost");
const modifiers = Object.fromEntries(
  Object.entries(tests).map(([name, test]) => [name, [test.result, test.scoreModifier]]),
);
console.log(JSON.stringify({ score: total.score, grade: total.grade, modifiers }));
