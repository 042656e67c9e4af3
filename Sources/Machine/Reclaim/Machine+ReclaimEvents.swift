internal import AddressSpaces
internal import MemoryTypes

extension Machine {
  /// What reclaim and compaction have done, in Linux's words.
  func addReclaim(to counts: inout Counters<VMEvent>) {
    let pages = users.reclaimCounts
    counts[.pgpgin] = Int(pages.pagedIn)
    counts[.pgpgout] = Int(pages.pagedOut)
    for kind in ZoneKind.allCases {
      counts[.of(.allocstallDma, kind)] = reclaimCounts.stalls[Int(kind.rawValue)]
      counts[.of(.pgskipDma, kind)] = Int(pages.skipped[Int(kind.rawValue)])
    }
    counts[.pgactivate] = Int(pages.activated)
    counts[.pgdeactivate] = Int(pages.deactivated)
    counts[.pglazyfree] = Int(pages.markedLazilyFree)
    counts[.pglazyfreed] = Int(pages.lazilyFreed)
    counts[.pgrefill] = Int(pages.refilled)
    counts[.pgrotated] = Int(pages.rotated)
    counts[.pgstealKswapd] = Int(pages.stolenByKswapd)
    counts[.pgstealDirect] = Int(pages.stolenDirectly)
    counts[.pgscanKswapd] = Int(pages.scannedByKswapd)
    counts[.pgscanDirect] = Int(pages.scannedDirectly)
    // Only the lists of files' pages are looked at, as there is nowhere to swap to.
    counts[.pgscanFile] = Int(pages.scannedByKswapd + pages.scannedDirectly)
    counts[.pgstealFile] = Int(pages.stolenByKswapd + pages.stolenDirectly)
    counts[.slabsScanned] = reclaimCounts.slabsScanned
    counts[.kswapdLowWmarkHitQuickly] = reclaimCounts.lowHitQuickly
    counts[.kswapdHighWmarkHitQuickly] = reclaimCounts.highHitQuickly
    counts[.pageoutrun] = reclaimCounts.kswapdRuns
    let compaction = compaction.counts
    counts[.compactMigrateScanned] = Int(compaction.migrateScanned)
    counts[.compactFreeScanned] = Int(compaction.freeScanned)
    counts[.compactIsolated] = Int(compaction.isolated)
    counts[.compactStall] = Int(compaction.stalls)
    counts[.compactFail] = Int(compaction.failures)
    counts[.compactSuccess] = Int(compaction.successes)
    counts[.compactDaemonWake] = Int(compaction.daemonWakes)
    counts[.compactDaemonMigrateScanned] = Int(compaction.daemonMigrateScanned)
    counts[.compactDaemonFreeScanned] = Int(compaction.daemonFreeScanned)
  }
}
