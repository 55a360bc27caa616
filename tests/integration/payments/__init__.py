"""The payments context against real stores and a gateway over real HTTP."""
