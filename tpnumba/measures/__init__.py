"""The measures of *The Price of Freedom*: from products to numbers."""
