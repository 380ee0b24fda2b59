// Wrong test images of a cell: small pictures with the class, the predicted class and its probability.

/** One image; `picture` is its place among the page's pictures, or null where the image could not be read. */
function wrongImage([picture, number, label, predicted, probability], pictures) {
  const text = `Test image ${number}: ${label}, taken for ${predicted} with ${percent(probability)} %`;
  const image =
    picture === null
      ? h("div", { role: "img", "aria-label": `${text}; it cannot be read` }, "cannot be read")
      : h("img", { src: pictures[picture], alt: text, width: 64, height: 64 });
  // The picture's own text says all of this.
  const caption = h(
    "figcaption",
    { "aria-hidden": "true" },
    h("span", { class: "right" }, label),
    h("span", { class: "bad" }, predicted),
    h("span", { class: "share" }, `${percent(probability)} %`),
  );
  return h("li", {}, h("figure", { title: text }, image, caption));
}

/** A sheet of wrong images, or the one line on why there is none. */
function wrongImages({ images, note }, pictures) {
  if (!images) return [h("p", { class: "notes" }, note)];
  const legend = [h("span", { class: "right" }, "class"), ", ", h("span", { class: "bad" }, "predicted class"), ", probability"];
  return [
    h("p", { class: "notes" }, `${note} Below each: `, ...legend, "."),
    h("ul", { class: "sheet" }, images.map((image) => wrongImage(image, pictures))),
  ];
}
