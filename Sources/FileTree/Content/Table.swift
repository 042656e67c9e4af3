/// The one table of files. What is not here does not exist; everything else about the tree derives from it.
enum Table {
  static let rows: [Row] =
    nodeRows + cpuRows + memoryRows + busRows + debugRows + tunableRows + allocatorRows + translationRows + procRows
    + processRows + zoneRows + sysctlRows
    + resourceRows + tierRows + hugePageSizeRows + transparentHugePageRows + deviceRows
}
