// The slider under a training's grids shows the one of its moment.
for (const figure of document.querySelectorAll("figure.film")) {
  const grids = [...figure.querySelectorAll("img")], words = figure.querySelector("output");
  figure.querySelector("input").addEventListener("input", event => {
    grids.forEach((grid, i) => { grid.hidden = i !== +event.target.value; });
    words.textContent = grids[+event.target.value].alt;
  });
}
// A verdict that is not ticked is not shown.
for (const box of document.querySelectorAll("input[data-verdict]")) {
  box.addEventListener("change", () => {
    const style = box.checked ? "" : "none";
    for (const mark of document.querySelectorAll(`svg .${box.dataset.verdict}`)) mark.style.display = style;
  });
}
