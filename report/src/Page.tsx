/** The page, from one sentence to the last table. */
import { Explorer } from "./explorer/Explorer";
import { Claims } from "./parts/Claims";
import { FirstToy } from "./parts/FirstToy";
import { Measured } from "./parts/Measured";
import { Paper } from "./parts/Paper";
import { Formula, Section, Told } from "./parts/common";

const SECTIONS = {
  explorer: "Try it",
  claims: "What is claimed, what is true",
  measured: "What we measured",
  paper: "The paper's figures and tables",
  sure: "How sure we are",
  use: "Should you use it?",
  words: "Words",
};

function Words() {
  return (
    <dl class="words">
      <dt>answer, y; the other answer, y′</dt>
      <dd>
        A reply to a prompt x, and the one that it is compared with, the comparator. <Formula name="preference" /> is how often y
        is preferred.
      </dd>
      <dt>reference</dt>
      <dd>The model that training starts from; also how often it gives each answer.</dd>
      <dt>
        <Formula name="psi" />, V
      </dt>
      <dd>
        What a preference counts for, itself or its log-odds; what a policy is worth: <Formula name="V" />.
      </dd>
      <dt>
        <Formula name="pi_bar" />, <Formula name="pi_star" />, gap
      </dt>
      <dd>The policy worth the most that sees the prompt alone; the one that also sees y′; how much more that is worth.</dd>
      <dt>KL</dt>
      <dd>
        How far a policy is from the reference, in nats. <Formula name="beta" /> and <Formula name="tau" /> set how far DPO,
        InSPO and IPO go. Policies are compared at equal KL.
      </dd>
      <dt>DPO</dt>
      <dd class="scroll" tabIndex={0}>
        <Formula name="dpo" />
      </dd>
      <dt>InSPO's DPO, INS-DPO</dt>
      <dd class="scroll" tabIndex={0}>
        <Formula name="inspo" />
      </dd>
      <dt>deployed, reviser, judge</dt>
      <dd>
        The three uses of what was trained: without the other answer; with it, as a draft to be improved; its margin, as an
        opinion on which of two is better.
      </dd>
      <dt>witness</dt>
      <dd>The example that decides a claim.</dd>
      <dt>Nash</dt>
      <dd>The policy that no answer beats more than half the time.</dd>
    </dl>
  );
}

export function Page() {
  return (
    <>
      <a class="skip" href="#explorer">
        to the explorer
      </a>
      <header>
        <h1>InSPO, seen from all sides</h1>
        <p class="sub">
          A companion to the paper arXiv:2512.23126: what it claims, what is true of it, what was measured, and a place to try
          it. Everything is in this one file.
        </p>
      </header>
      <main>
        <FirstToy />
        <nav aria-label="sections">
          <ul>
            {Object.entries(SECTIONS).map(([id, title]) => (
              <li key={id}>
                <a href={`#${id}`}>{title}</a>
              </li>
            ))}
          </ul>
        </nav>
        <Section id="explorer" title={SECTIONS.explorer}>
          <Explorer />
        </Section>
        <Section id="claims" title={SECTIONS.claims}>
          <Claims />
        </Section>
        <Section id="measured" title={SECTIONS.measured}>
          <Measured />
        </Section>
        <Section id="paper" title={SECTIONS.paper}>
          <Paper />
        </Section>
        <Section id="sure" title={SECTIONS.sure}>
          <Told name="status" />
          <h3>What the experiments do not say</h3>
          <Told name="caveats" />
        </Section>
        <Section id="use" title={SECTIONS.use}>
          <Told name="use" />
          <h3>For practitioners</h3>
          <Told name="practice" />
        </Section>
        <Section id="words" title={SECTIONS.words}>
          <Words />
        </Section>
      </main>
    </>
  );
}
