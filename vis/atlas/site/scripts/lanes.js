// The lanes in which the lines between layers run beside them, as those of a railway map do.
"use strict";
{
  // Of rows, each with the rows before it, what a map draws in each row:
  // `lane` of its node, and `lines` as [lane at the top or null, lane at the bottom or null];
  // null is the node itself.
  atlas.lanes = (before) => {
    const taken = []; // By lane and row: the node there, or the node from which a line passes.
    const isFree = (lane, from, to, source) => {
      for (let row = from; row <= to; row++) {
        const there = taken[lane]?.[row];
        if (there !== undefined && there !== source) return false;
      }
      return true;
    };
    const take = (lane, from, to, source) => {
      taken[lane] ??= [];
      for (let row = from; row <= to; row++) taken[lane][row] = source;
    };
    const firstFree = (from, to, source) => {
      let lane = 0;
      while (!isFree(lane, from, to, source)) lane++;
      return lane;
    };

    const rows = before.map(() => ({ lane: 0, lines: [] }));
    before.forEach((sources, row) => {
      // A node goes on in the lane of one before it where nothing stands between them.
      const open = sources
        .filter((source) => isFree(rows[source].lane, source + 1, row, `from ${source}`))
        .map((source) => rows[source].lane);
      const lane = open.length
        ? Math.min(...open)
        : firstFree(Math.min(row, ...sources.map((source) => source + 1)), row);
      rows[row].lane = lane;
      take(lane, row, row, `node ${row}`);
      for (const source of sources) {
        const passes = `from ${source}`;
        const choice = [rows[source].lane, lane].find((one) =>
          isFree(one, source + 1, row - 1, passes),
        );
        const way = choice ?? firstFree(source + 1, row - 1, passes);
        take(way, source + 1, row - 1, passes);
        rows[source].lines.push([null, way]);
        for (let at = source + 1; at < row; at++) rows[at].lines.push([way, way]);
        rows[row].lines.push([way, null]);
      }
    });
    return { rows, width: Math.max(1, taken.length) };
  };
}
