// Wrong test images of a cell: small pictures with the class, the predicted class and its probability; of a
// segmentation the image, its mask and the prediction side by side, with its IoU; of a detection the image with the boxes
// that are there and with those that were found, with its F1.

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

/** One of the worst images: pictures of it side by side, and its number and score below. */
function worstImage(text, pictures) {
  return h("li", {}, h("figure", { title: text }, ...pictures, h("figcaption", { "aria-hidden": "true" }, text)));
}

/** One image of a segmentation: itself, its mask, and what its pixels are taken for. */
function maskedImage([image, mask, answer, number, iou], pictures) {
  const text = `Test image ${number}, IoU ${percent(iou)} %`;
  return worstImage(text, [
    h("img", { src: pictures[image], alt: text }),
    h("img", { src: pictures[mask], alt: "its mask" }),
    h("img", { src: pictures[answer], alt: "the prediction" }),
  ]);
}

const NOWHERE = "#b8b8b8"; // boxes that count neither as found nor as missed

/** A picture with boxes, each in the colour of its class over a dark line, which shows on any image. */
function boxedPicture(text, picture, [width, height], boxes, colours) {
  const rectangles = boxes.map(([left, top, right, bottom, place, score]) => {
    const [name, colour] = place === null ? ["counts nowhere", NOWHERE] : colours[place];
    const size = { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
    const dash = place === null ? "3 3" : null;
    return s(
      "g",
      {},
      s("title", {}, score === undefined ? name : `${name}, score ${score.toFixed(2)}`),
      s("rect", { ...size, stroke: "#000", "stroke-opacity": 0.6, "stroke-width": 3 }),
      s("rect", { ...size, stroke: colour, "stroke-width": 1.5, "stroke-dasharray": dash }),
    );
  });
  return s(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text },
    s("image", { href: picture, width, height }),
    ...rectangles,
  );
}

/** One image of a detection: with the boxes that are there, and with those that were found. */
function boxedImage([picture, width, height, number, f1, there, found], pictures, colours) {
  const text = `Test image ${number}, F1 ${percent(f1)} %`;
  const draw = (label, boxes) => boxedPicture(label, pictures[picture], [width, height], boxes, colours);
  return worstImage(text, [
    draw(`${text}: its boxes, ${there.length}`, there),
    draw(`the boxes that were found, ${found.length}`, found),
  ]);
}

function swatch(name, colour) {
  const box = s("svg", { width: 12, height: 12, "aria-hidden": "true" }, s("rect", { width: 12, height: 12, fill: colour }));
  return h("span", { class: "swatch" }, box, ` ${name}`);
}

/** A sheet of the worst images of a segmentation or a detection. */
function worstImages({ masks, boxes, colours, note }, pictures) {
  const [kind, order] = masks
    ? ["masks", "Of each: the image, its mask, the prediction. Grey stripes count nowhere."]
    : ["boxes", "Of each: the boxes that are there, those that were found. Grey dashed ones count nowhere."];
  const images = masks
    ? masks.map((each) => maskedImage(each, pictures))
    : boxes.map((each) => boxedImage(each, pictures, colours));
  return [
    h("p", { class: "notes" }, `${note} ${order}`),
    h("p", { class: "swatches" }, colours.map(([name, colour]) => swatch(name, colour))),
    h("ul", { class: `sheet ${kind}` }, images),
  ];
}

const wrongTitle = ({ masks, boxes }) => (masks || boxes ? "Worst test images" : "Wrong test images");

/** A sheet of wrong images, or the one line on why there is none. */
function wrongImages(sheet, pictures) {
  const { images, masks, boxes, note } = sheet;
  if (masks || boxes) return worstImages(sheet, pictures);
  if (!images) return [h("p", { class: "notes" }, note)];
  const legend = [h("span", { class: "right" }, "class"), ", ", h("span", { class: "bad" }, "predicted class"), ", probability"];
  return [
    h("p", { class: "notes" }, `${note} Below each: `, ...legend, "."),
    h("ul", { class: "sheet" }, images.map((image) => wrongImage(image, pictures))),
  ];
}
