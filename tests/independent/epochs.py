"""What holds between the chains of a station, and between chains, ranges and receipts (PROTOCOL §2, §3, §9.4)."""


def of_epoch(chains, station, number):
    """The chains of all branches of an epoch that have an entry."""
    return [chain for chain in chains.values() if (chain.station, chain.number) == (station, number) and chain.hashes]


def check_epochs(chains, whole, forks, findings):
    """`whole`: nothing may be missing at the beginning. `forks`: {(station, epoch number)} that signed statements tell."""
    stations, ids = {}, {}
    for chain in chains.values():
        if chain.hashes:
            stations.setdefault(chain.station, {}).setdefault(chain.number, []).append(chain)
    for station, epochs in stations.items():
        expected = 1 if whole else min(epochs)
        for number in sorted(epochs):
            if number != expected:
                findings.add("chain_gap", f"epochs {expected} to {number - 1} are missing", station, number)
            expected = number + 1
            for chain in epochs[number]:
                if chain.id and ids.setdefault(chain.id, (station, number)) != (station, number):
                    findings.add("epoch_contradiction", "another epoch has the same id", station, number)
                for name in ("last", "anchor"):
                    if chain.opened and chain.opened[name]:
                        check_known(chains, chain, name, chain.opened[name], findings)
                if chain.branch:
                    check_branch(chains, chain, forks, findings)


def check_known(chains, chain, name, known, findings):
    """`last` and `anchor` of an opening must be what the export has there, if it has that place."""
    place, epoch, seq = (chain.station, chain.number, 1), known["epoch"], known["seq"]
    if epoch["n"] >= chain.number:
        findings.add("epoch_contradiction", f"{name} names no earlier epoch", *place)
        return
    branches = of_epoch(chains, chain.station, epoch["n"])
    if branches and all(one.id != epoch["id"] for one in branches):
        findings.add("epoch_contradiction", f"{name} names another epoch {epoch['n']}", *place)
        return
    here = [one.hashes[seq].hex() for one in branches if seq in one.hashes]
    if here and known["hash"] not in here:
        findings.add("epoch_contradiction", f"{name} names another entry {seq} of epoch {epoch['n']}", *place)


def check_branch(chains, chain, forks, findings):
    """A branch leaves another one of its epoch, and a statement of the tenant tells so."""
    place = (chain.station, chain.number, chain.first)
    others = [one for one in of_epoch(chains, chain.station, chain.number) if one is not chain]
    if chain.first > 1 and all(one.hashes.get(chain.first - 1) != chain.first_prev for one in others):
        findings.add("chain_broken", f"branch {chain.branch} begins at no entry of another branch", *place)
    if all(one.hashes.get(chain.first) == chain.hashes[chain.first] for one in others):
        findings.add("entry_repeated", f"branch {chain.branch} does not differ where it begins", *place)
    if (chain.station, chain.number) not in forks:
        findings.add("fork", f"branch {chain.branch}, and no statement of the tenant tells of it", *place)


def check_ranges(chains, ranges, findings):
    """The manifest's ranges against the entries that were found."""
    claimed = set()
    for one in ranges:
        place = (one["station"], one["epoch"], one["branch"])
        chain, text = chains.get(place), f"branch {one['branch']}, seq {one['first']} to {one['last']}"
        if place in claimed:
            findings.add("range_mismatch", f"two ranges for one epoch: {text}", *place[:2])
        elif chain is None or not chain.hashes:
            findings.add("range_mismatch", f"no entry is there of {text}", *place[:2])
        elif (chain.first, chain.last) != (one["first"], one["last"]):
            findings.add("range_mismatch", f"the manifest says {text}, there is {chain.first} to {chain.last}", *place[:2])
        claimed.add(place)
    for place, chain in chains.items():
        if chain.hashes and place not in claimed:
            findings.add("range_mismatch", f"no range names these entries of branch {chain.branch}", *place[:2])


def check_receipts(receipts, chains, verdict_hashes, findings):
    """Receipts against entries, against each other, and the verdicts they name against verdicts.bin."""
    seen = {}
    for receipt, _ in receipts:
        station, epoch, through = receipt["station"], receipt["epoch"], receipt["through"]
        seq, digest = through["seq"], through["hash"]
        place = (station, epoch["n"], seq)
        other = seen.setdefault((station, epoch["n"], epoch["id"], seq), digest)
        if other != digest:
            findings.add("receipt_contradiction", f"one receipt says {other}, another {digest}", *place)
        for verdict in receipt["verdicts"]:
            if bytes.fromhex(verdict) not in verdict_hashes:
                findings.add("verdict_missing", f"the receipt's verdict {verdict} is not in verdicts.bin", *place)
        branches = of_epoch(chains, station, epoch["n"])
        same = [chain for chain in branches if chain.id == epoch["id"]]
        here = {chain.hashes[seq].hex() for chain in same if seq in chain.hashes}
        here |= {chain.first_prev.hex() for chain in same if chain.first_prev and seq == chain.first - 1}
        if not branches:
            kept = [chain.number for chain in chains.values() if chain.station == station and chain.hashes]
            # Epochs below the oldest kept one were pruned; nothing else may be away.
            if not kept or min(kept) < epoch["n"]:
                findings.add("entries_missing", "a receipt covers an epoch of which nothing is here", *place)
        elif not same:
            findings.add("receipt_contradiction", "the receipt is for another epoch of this number", *place)
        elif here and digest not in here:
            findings.add("receipt_contradiction", f"the receipt says {digest}, the entry is {min(here)}", *place)
        elif seq > max(chain.last for chain in same):
            findings.add("entries_missing", f"the export ends at seq {max(chain.last for chain in same)}", *place)


def check_receipts_whole(receipts, chains, findings):
    """In the export of a cloud: each receipt names the one before it, and the end of every chain has one."""
    last, covered = {}, set()
    for receipt, digest in receipts:
        station, through = receipt["station"], receipt["through"]
        place = (station, receipt["epoch"]["n"], through["seq"])
        if receipt["previous"] != last.get(station, "00" * 32):
            findings.add("receipt_missing", f"the receipt before it should be {receipt['previous']}", *place)
        last[station] = digest.hex()
        covered.add(through["hash"])
    for chain in chains.values():
        if chain.hashes and chain.hashes[chain.last].hex() not in covered:
            findings.add("receipt_missing", "no receipt is for the last entry", chain.station, chain.number, chain.last)


def check_beginnings(chains, receipts, findings):
    """A chain that begins after seq 1 was pruned; only a receipt at its base or above says that the tenant has the rest."""
    highest = {}
    for receipt, _ in receipts:
        place = (receipt["station"], receipt["epoch"]["n"])
        highest[place] = max(highest.get(place, 0), receipt["through"]["seq"])
    for chain in chains.values():
        covered = highest.get((chain.station, chain.number), 0)
        if chain.hashes and chain.first > 1 and not chain.branch and covered < chain.first - 1:
            findings.add("chain_gap", f"seq 1 to {chain.first - 1} are missing and no receipt covers them", chain.station,
                         chain.number, chain.first)
