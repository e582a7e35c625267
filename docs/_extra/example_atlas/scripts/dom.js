// Creates elements from text only: names are never parsed as HTML.
"use strict";
{
  const fill = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") element.addEventListener(name, value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) {
        element.setAttribute(name, value);
      }
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  };

  // make("a", { class: "tile", href, click: listener }, "text", child, [children], null)
  atlas.make = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);

  atlas.makeSvg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // Sets styles, which the content security policy allows to scripts but not to attributes.
  atlas.style = (element, properties) => {
    for (const [name, value] of Object.entries(properties)) {
      element.style.setProperty(name, value);
    }
    return element;
  };
}
