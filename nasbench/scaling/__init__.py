"""Scaling: from one design to a family, and what more compute would buy.

Sizes: `rules` says how cost is split between depth, width and resolution (`rule_search` finds a split by training),
`resize` changes a design's size, `target` scales it to a budget, `family` makes several sizes. Trainings: `study` plans
them, `training` runs them, `points` reads them. Laws: `laws` fits how the error falls, `intervals` and `likelihood`
give confidence intervals, `family_laws` fits every design of a study, `heldout` tests a law, `quoted_families` holds
published tables. Use: `comparison`, `isoflop` and `plan`; `objective` and `crossing` serve a search that ranks designs
by extrapolated error. `pictures` says what is drawn, `plots` draws it.
"""
