// Lays out the graph beside the map: nodes in lanes, and lines between them.
"use strict";
{
  // `predecessors` has the earlier rows of each row. Returns for each row the `lane` of its node,
  // and `lines` as [lane at the top, lane at the bottom], where null is the node itself.
  atlas.lanes = (predecessors) => {
    const occupied = []; // By lane and row: the node there, or the node that a line starts from.
    const isFree = (lane, first, last, source) => {
      for (let row = first; row <= last; row++) {
        const occupant = occupied[lane]?.[row];
        if (occupant !== undefined && occupant !== source) return false;
      }
      return true;
    };
    const occupy = (lane, first, last, source) => {
      occupied[lane] ??= [];
      for (let row = first; row <= last; row++) occupied[lane][row] = source;
    };
    const firstFree = (first, last, source) => {
      let lane = 0;
      while (!isFree(lane, first, last, source)) lane++;
      return lane;
    };

    const rows = predecessors.map(() => ({ lane: 0, lines: [] }));
    predecessors.forEach((sources, row) => {
      // A node continues the lane of a predecessor if nothing is in between.
      const open = sources
        .filter((source) => isFree(rows[source].lane, source + 1, row, `from ${source}`))
        .map((source) => rows[source].lane);
      const lane = open.length
        ? Math.min(...open)
        : firstFree(Math.min(row, ...sources.map((source) => source + 1)), row);
      rows[row].lane = lane;
      occupy(lane, row, row, `node ${row}`);
      for (const source of sources) {
        const line = `from ${source}`;
        const straight = [rows[source].lane, lane].find((candidate) =>
          isFree(candidate, source + 1, row - 1, line),
        );
        const lineLane = straight ?? firstFree(source + 1, row - 1, line);
        occupy(lineLane, source + 1, row - 1, line);
        rows[source].lines.push([null, lineLane]);
        for (let between = source + 1; between < row; between++) {
          rows[between].lines.push([lineLane, lineLane]);
        }
        rows[row].lines.push([lineLane, null]);
      }
    });
    return { rows, width: Math.max(1, occupied.length) };
  };
}
