"""The parts there are, in the order in which they run."""

from bench import catch_up, command, gateway, growth, importing, lag, old_snapshot, peers, publishing, query, rebuild

PARTS = {
    part.name: part
    for part in (
        catch_up.part,
        rebuild.part,
        lag.part,
        command.part,
        query.part,
        importing.part,
        gateway.part,
        old_snapshot.part,
        publishing.part,
        peers.part,
        growth.part,
    )
}
