// The network as data/atlas.js describes it, with an address for each layer and channel.
"use strict";
{
  // Names may hold half of a surrogate pair, of which no address can be made.
  const whole = (name) => String(name).replace(/\p{Surrogate}/gu, "\ufffd");

  // A key for each layer: its name, or the name and the position where it is not the only one.
  const keys = (names) => {
    const times = new Map();
    for (const name of names) times.set(name, (times.get(name) ?? 0) + 1);
    const taken = new Set(names.filter((name) => name !== "" && times.get(name) === 1));
    return names.map((name, position) => {
      if (taken.has(name) && times.get(name) === 1) return name;
      let key = `${name}~${position}`;
      while (taken.has(key)) key += "~";
      taken.add(key);
      return key;
    });
  };

  class Layer {
    constructor(described, position, key) {
      Object.assign(this, described);
      this.position = position;
      this.key = key;
      this.name = whole(described.name) || "(without a name)";
      this.address = `#/${encodeURIComponent(key)}`;
      this.before = this.before.filter((other) => other >= 0 && other < position);
      this.ranks = new Map(this.drawn.map((index, rank) => [index, rank]));
      this.file = String(position).padStart(4, "0");
    }

    has(index) {
      return this.ranks.has(index);
    }

    // What a channel of a layer of classes is called, else null.
    label(index) {
      const label = this.labels?.[this.ranks.get(index)];
      return label === null || label === undefined ? null : whole(label);
    }

    title(index) {
      return this.label(index) ?? `${this.is_classes ? "Class" : "Channel"} ${index}`;
    }

    addressOf(index) {
      return `${this.address}/${index}`;
    }

    pictureOf(index) {
      return `pictures/${this.file}/${String(index).padStart(5, "0")}.jpg`;
    }

    neighbour(index, step) {
      return this.drawn[this.ranks.get(index) + step];
    }
  }

  atlas.understand = (described) => {
    const found = keys(described.layers.map((layer) => whole(layer.name)));
    const layers = described.layers.map((layer, at) => new Layer(layer, at, found[at]));
    const byKey = new Map(layers.map((layer) => [layer.key, layer]));
    return { ...described, model: whole(described.model) || "Atlas", layers, byKey };
  };
}
