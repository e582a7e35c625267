// A grid of any length, of which only what is near the window is there.
//
// Of 5,000 tiles laid out at once, even with `content-visibility`, a page took half a second to
// come and twice as long as a frame to scroll; a few screens of them are as quick as a short grid.
"use strict";
{
  const AROUND = 1; // Windows above and below the one that is seen.

  // `item(rank)` makes an element of the list; `tall` is a picture's height by its width, and
  // `sizes()` tells of its least width, the gap and the height of what stands below it, in pixels.
  atlas.rows = (list, count, item, tall, sizes) => {
    const there = new Map(); // Items by rank, in the order of the document.
    let columns = 1;
    let pitch = 1; // From row to row.

    const place = (rank, made) =>
      atlas.style(made, {
        "grid-row": String(Math.floor(rank / columns) + 1),
        "grid-column": String((rank % columns) + 1),
      });

    const keep = (first, last) => {
      for (const [rank, made] of there) {
        // What has the focus keeps it, however far it is scrolled away.
        if ((rank < first || rank >= last) && !made.contains(document.activeElement)) {
          made.remove();
          there.delete(rank);
        }
      }
      let next = list.firstElementChild;
      for (let rank = first; rank < last; rank++) {
        while (next && Number(next.ariaPosInSet) <= rank) next = next.nextElementSibling;
        if (there.has(rank)) continue;
        const made = place(rank, item(rank));
        made.ariaPosInSet = String(rank + 1);
        made.ariaSetSize = String(count);
        there.set(rank, made);
        list.insertBefore(made, next);
      }
    };

    const update = () => {
      const top = -list.getBoundingClientRect().top;
      const row = (y) => Math.floor(y / pitch);
      const first = Math.max(0, row(top - AROUND * innerHeight) * columns);
      const last = Math.min(count, (row(top + (1 + AROUND) * innerHeight) + 1) * columns);
      keep(Math.min(first, count), Math.max(0, last));
    };

    const layout = () => {
      const { tile, gap, below } = sizes();
      columns = Math.max(1, Math.floor((list.clientWidth + gap) / (tile + gap)));
      const width = (list.clientWidth - (columns - 1) * gap) / columns;
      const height = width * tall + below;
      pitch = height + gap;
      const rows = Math.ceil(count / columns);
      atlas.style(list, {
        "--columns": columns,
        "--row": `${height}px`,
        height: `${rows * pitch - gap}px`,
      });
      for (const [rank, made] of there) place(rank, made);
      update();
    };

    const scrolled = () => {
      if (list.isConnected) update();
      else removeEventListener("scroll", scrolled);
    };
    addEventListener("scroll", scrolled, { passive: true });
    new ResizeObserver(layout).observe(list);

    return {
      layout,
      columns: () => columns,
      // The rank of what has the focus.
      now: () => {
        for (const [rank, made] of there) if (made.contains(document.activeElement)) return rank;
        return null;
      },
      firstInView: () =>
        Math.max(0, Math.ceil(-list.getBoundingClientRect().top / pitch)) * columns,
      // The item of a rank, brought into view.
      show: (rank) => {
        if (!there.has(rank)) {
          const at =
            list.getBoundingClientRect().top + scrollY + Math.floor(rank / columns) * pitch;
          scrollTo(0, at - innerHeight / 2);
          update();
        }
        return there.get(rank);
      },
    };
  };
}
