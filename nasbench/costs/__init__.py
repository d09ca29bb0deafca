"""What a network costs, and the budgets that bound it. Each operator's formula lies beside its module, in `blocks`."""
