// Wrong test images of a cell: small pictures with the class, the predicted class and its probability; of a
// segmentation the image, its mask and the prediction side by side, with its IoU.

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

/** One image of a segmentation: itself, its mask, and what its pixels are taken for. */
function worstImage([image, mask, answer, number, iou], pictures) {
  const text = `Test image ${number}, IoU ${percent(iou)} %`;
  return h(
    "li",
    {},
    h(
      "figure",
      { title: text },
      h("img", { src: pictures[image], alt: text }),
      h("img", { src: pictures[mask], alt: "its mask" }),
      h("img", { src: pictures[answer], alt: "the prediction" }),
      h("figcaption", { "aria-hidden": "true" }, text),
    ),
  );
}

function swatch(name, colour) {
  const box = s("svg", { width: 12, height: 12, "aria-hidden": "true" }, s("rect", { width: 12, height: 12, fill: colour }));
  return h("span", { class: "swatch" }, box, ` ${name}`);
}

function worstImages({ masks, colours, note }, pictures) {
  return [
    h("p", { class: "notes" }, `${note} Of each: the image, its mask, the prediction. Grey stripes count nowhere.`),
    h("p", { class: "swatches" }, colours.map(([name, colour]) => swatch(name, colour))),
    h("ul", { class: "sheet masks" }, masks.map((each) => worstImage(each, pictures))),
  ];
}

const wrongTitle = ({ masks }) => (masks ? "Worst test images" : "Wrong test images");

/** A sheet of wrong images, or the one line on why there is none. */
function wrongImages({ images, masks, colours, note }, pictures) {
  if (masks) return worstImages({ masks, colours, note }, pictures);
  if (!images) return [h("p", { class: "notes" }, note)];
  const legend = [h("span", { class: "right" }, "class"), ", ", h("span", { class: "bad" }, "predicted class"), ", probability"];
  return [
    h("p", { class: "notes" }, `${note} Below each: `, ...legend, "."),
    h("ul", { class: "sheet" }, images.map((image) => wrongImage(image, pictures))),
  ];
}
