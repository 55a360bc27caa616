"""Orders: from placing to delivery, their payment and their cancellation."""
