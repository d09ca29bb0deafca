"""A study as values: objectives, budgets, recipe, ladder, runner, trials, and the store that keeps them."""
