"""From a trained folder to the rows of Table 2: answers to benchmarks, judged and scored."""
