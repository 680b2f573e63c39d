"""From files to rows of tokens: records -> filters -> templates -> tokens -> examples -> plan. Knows no model."""
