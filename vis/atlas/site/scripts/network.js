// The network described by data/atlas.js, with an address for each layer and channel.
"use strict";
{
  // Half of a surrogate pair in a name cannot be part of an address.
  const wellFormed = (name) => String(name).replace(/\p{Surrogate}/gu, "\ufffd");

  // A unique key for each layer: its name, or name and position if the name is not unique.
  const uniqueKeys = (names) => {
    const counts = new Map();
    for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    const used = new Set(names.filter((name) => name !== "" && counts.get(name) === 1));
    return names.map((name, position) => {
      if (used.has(name) && counts.get(name) === 1) return name;
      let key = `${name}~${position}`;
      while (used.has(key)) key += "~";
      used.add(key);
      return key;
    });
  };

  class Layer {
    constructor(data, position, key) {
      Object.assign(this, data);
      this.position = position;
      this.key = key;
      this.name = wellFormed(data.name) || "(no name)";
      this.address = `#/${encodeURIComponent(key)}`;
      this.predecessors = this.predecessors.filter((other) => other >= 0 && other < position);
      this.inactive = new Set(data.inactive);
      this.active = this.filters.filter((index) => !this.inactive.has(index));
      this.ranks = new Map(this.filters.map((index, rank) => [index, rank]));
      this.file = String(position).padStart(4, "0");
    }

    has(index) {
      return this.ranks.has(index);
    }

    // The name of a class, or null.
    label(index) {
      const label = this.labels?.[this.ranks.get(index)];
      return label === null || label === undefined ? null : wellFormed(label);
    }

    title(index) {
      return this.label(index) ?? `${this.is_classes ? "Class" : "Channel"} ${index}`;
    }

    addressOf(index) {
      return `${this.address}/${index}`;
    }

    pictureOf(index) {
      return `pictures/${this.file}/${String(index).padStart(5, "0")}${this.suffix}`;
    }

    neighbour(index, step) {
      return this.filters[this.ranks.get(index) + step];
    }
  }

  atlas.buildNetwork = (data) => {
    const keys = uniqueKeys(data.layers.map((layer) => wellFormed(layer.name)));
    const layers = data.layers.map((layer, i) => new Layer(layer, i, keys[i]));
    const byKey = new Map(layers.map((layer) => [layer.key, layer]));
    const model = wellFormed(data.model);
    return { ...data, model, title: wellFormed(data.title) || model || "Atlas", layers, byKey };
  };
}
