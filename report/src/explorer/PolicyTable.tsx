/** Every policy: what it sees, V, KL, and how it answers. */
import { range } from "../math/matrices";
import { column } from "../math/objectives";
import { POLICIES, Policy, Solution } from "../math/solve";
import { color } from "./colors";
import { ABOUT, MARKS, NAMES } from "./names";

const number = (x: number, digits: number): string =>
  Number.isFinite(x) ? (Math.round(x * 10 ** digits) / 10 ** digits + 0).toFixed(digits) : "infinite";

function Bar({ policy, labels, title }: { policy: number[]; labels: string[]; title: string }) {
  return (
    <span class="bar" role="img" aria-label={`${title}${labels.map((label, i) => `${label} ${Math.round(100 * policy[i])} %`).join(", ")}`}>
      {policy.map((p, i) => (
        <span key={i} style={{ width: `${100 * p}%`, background: color(i) }} title={`${labels[i]} ${(100 * p).toFixed(1)} %`} />
      ))}
    </span>
  );
}

function Answers({ policy, labels }: { policy: Policy; labels: string[] }) {
  if (policy.kind === "none") return null;
  if (policy.kind === "prompt") return <Bar policy={policy.policy} labels={labels} title="" />;
  return (
    <span class="bars">
      {range(labels.length).map((j) => (
        <Bar key={j} policy={column(policy.policy, j)} labels={labels} title={`to ${labels[j]}: `} />
      ))}
    </span>
  );
}

export function PolicyTable({ found, labels }: { found: Solution; labels: string[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="policies">
      <table class="policies">
        <thead>
          <tr>
            <th scope="col">policy</th>
            <th scope="col">V</th>
            <th scope="col">KL, nats</th>
            <th scope="col">answers</th>
          </tr>
        </thead>
        <tbody>
          <tr data-policy="reference">
            <th scope="row">
              <svg viewBox="-8 -8 16 16" aria-hidden="true">
                <circle r="4" class="reference" />
              </svg>
              reference
            </th>
            <td>{number(found.reference, 4)}</td>
            <td>{number(0, 3)}</td>
            <td />
          </tr>
          {POLICIES.map((name) => {
            const policy = found.policies[name];
            return (
              <tr key={name} data-policy={name}>
                <th scope="row" title={ABOUT[name]}>
                  <svg viewBox="-8 -8 16 16" class={`mark ${name}`} aria-hidden="true">
                    <path d={MARKS[name]} />
                  </svg>
                  {NAMES[name]}
                </th>
                {policy.kind === "none" ? (
                  <td colSpan={3} class="why">{policy.why}</td>
                ) : (
                  <>
                    <td>{number(policy.value, 4)}</td>
                    <td>{number(policy.kl, 3)}</td>
                    <td>
                      <Answers policy={policy} labels={labels} />
                    </td>
                  </>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
