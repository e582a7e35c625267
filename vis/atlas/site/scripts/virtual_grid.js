// A virtual grid: only items near the window are in the document.
//
// With all 5,000 tiles of a layer, even with `content-visibility`, a page took half a second to
// load and twice the time of a frame to scroll.
"use strict";
{
  const MARGIN = 1; // Windows above and below the visible one.

  // `item(rank)` creates an element of the list. `aspect` is a picture's height by its width, and
  // `sizes()` has the minimum width of a tile, the gap, and the height of the caption in pixels.
  atlas.virtualGrid = (list, count, item, aspect, sizes) => {
    const elements = new Map(); // By rank, in document order.
    let columns = 1;
    let rowPitch = 1;

    const place = (rank, element) =>
      atlas.style(element, {
        "grid-row": String(Math.floor(rank / columns) + 1),
        "grid-column": String((rank % columns) + 1),
      });

    const render = (first, last) => {
      for (const [rank, element] of elements) {
        // The focused element stays, however far it is scrolled away.
        if ((rank < first || rank >= last) && !element.contains(document.activeElement)) {
          element.remove();
          elements.delete(rank);
        }
      }
      let next = list.firstElementChild;
      for (let rank = first; rank < last; rank++) {
        while (next && Number(next.ariaPosInSet) <= rank) next = next.nextElementSibling;
        if (elements.has(rank)) continue;
        const element = place(rank, item(rank));
        element.ariaPosInSet = String(rank + 1);
        element.ariaSetSize = String(count);
        elements.set(rank, element);
        list.insertBefore(element, next);
      }
    };

    const update = () => {
      const top = -list.getBoundingClientRect().top;
      const row = (y) => Math.floor(y / rowPitch);
      const first = Math.max(0, row(top - MARGIN * innerHeight) * columns);
      const last = Math.min(count, (row(top + (1 + MARGIN) * innerHeight) + 1) * columns);
      render(Math.min(first, count), Math.max(0, last));
    };

    const layout = () => {
      const { tile, gap, caption } = sizes();
      columns = Math.max(1, Math.floor((list.clientWidth + gap) / (tile + gap)));
      const width = (list.clientWidth - (columns - 1) * gap) / columns;
      const height = width * aspect + caption;
      rowPitch = height + gap;
      const rows = Math.ceil(count / columns);
      atlas.style(list, {
        "--columns": columns,
        "--row": `${height}px`,
        height: `${rows * rowPitch - gap}px`,
      });
      for (const [rank, element] of elements) place(rank, element);
      update();
    };

    const onScroll = () => {
      if (list.isConnected) update();
      else removeEventListener("scroll", onScroll);
    };
    addEventListener("scroll", onScroll, { passive: true });
    new ResizeObserver(layout).observe(list);

    return {
      layout,
      columns: () => columns,
      // The rank of the focused item, or null.
      focused: () => {
        for (const [rank, element] of elements) {
          if (element.contains(document.activeElement)) return rank;
        }
        return null;
      },
      firstInView: () =>
        Math.max(0, Math.ceil(-list.getBoundingClientRect().top / rowPitch)) * columns,
      // Scrolls to the item with a rank if necessary, and returns it.
      show: (rank) => {
        if (!elements.has(rank)) {
          const top =
            list.getBoundingClientRect().top + scrollY + Math.floor(rank / columns) * rowPitch;
          scrollTo(0, top - innerHeight / 2);
          update();
        }
        return elements.get(rank);
      },
    };
  };
}
