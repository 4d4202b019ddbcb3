"""The token economy: balances, allowances, locks, issued assets, deposits and withdrawals."""
