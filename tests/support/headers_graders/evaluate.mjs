// Prints the findings of Google's csp_evaluator for the policy given as argument, as JSON.
import evaluator from "csp_evaluator/dist/evaluator.js";
import parser from "csp_evaluator/dist/parser.js";

const policy = new parser.CspParser(process.argv[2]).csp;
const findings = new evaluator.CspEvaluator(policy).evaluate();
console.log(JSON.stringify(findings.map(({ description, severity, directive }) => ({ description, severity, directive }))));
