/** What policies are called, how they are marked, and what they are in a line. */
import type { PolicyName } from "../math/solve";

export const NAMES: Record<PolicyName, string> = {
  pi_bar: "best without y′ (pi_bar)",
  dpo: "DPO",
  ipo: "IPO",
  inspo_deployed: "InSPO, deployed",
  nash: "Nash",
  inspo_real: "InSPO, shown a real y′",
  pi_star: "best with y′ (pi*)",
};

export const ABOUT: Record<PolicyName, string> = {
  pi_bar: "worth the most of all that see the prompt alone",
  dpo: "where DPO's loss is least over all pairs, at beta",
  ipo: "where V less tau times KL is largest",
  inspo_deployed: "trained with the other answer in view, used without",
  nash: "no answer beats it more than half the time; it knows no reference",
  inspo_real: "the same training, shown the answer that it is judged against",
  pi_star: "the best answer to each answer",
};

/** Marks of about 10 by 10, around 0. */
export const MARKS: Record<PolicyName, string> = {
  pi_bar: "M-6 5L0-6L6 5Z",
  dpo: "M-5-5H5V5H-5Z",
  ipo: "M0-7L6 0L0 7L-6 0Z",
  inspo_deployed: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z",
  nash: "M-6-2H-2V-6H2V-2H6V2H2V6H-2V2H-6Z",
  inspo_real: "M-6 0A6 6 0 1 0 6 0A6 6 0 1 0-6 0ZM-2 0A2 2 0 1 1 2 0A2 2 0 1 1-2 0Z",
  pi_star: "M-6-5L0 6L6-5Z",
};
