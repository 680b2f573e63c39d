/** One color a response, the same in every picture (Okabe and Ito's, then lighter and darker ones of theirs). */
const COLORS = [
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A6D00", "#7B3294",
  "#A6761D", "#1B7837", "#B2182B", "#5E7FA3", "#C994C7", "#66A61E", "#9E9E9E", "#4D4D9F",
];

export const color = (i: number): string => COLORS[i % COLORS.length];
