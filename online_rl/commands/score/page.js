const main = document.getElementById("pairs"), all = [...main.children], wanted = new Set();
const order = document.getElementById("order"), shown = document.getElementById("shown");
const score = a => a.dataset.score === "" ? null : Number(a.dataset.score);
const place = (a, b) => a.dataset.place - b.dataset.place;
const by = sign => (a, b) => score(a) === null ? (score(b) === null ? place(a, b) : 1) : score(b) === null ? -1
  : sign * (score(a) - score(b)) || place(a, b);
const orders = { file: place, worst: by(1), best: by(-1) };
function show() {
  let count = 0;
  for (const a of all) {
    const has = a.dataset.errors.split("|");
    a.hidden = ![...wanted].every(e => has.includes(e));
    count += !a.hidden;
  }
  main.append(...all.sort(orders[order.value]));
  shown.textContent = `${count} of ${all.length} pairs`;
}
order.addEventListener("change", show);
for (const button of document.querySelectorAll("nav button"))
  button.addEventListener("click", () => {
    button.classList.toggle("on") ? wanted.add(button.dataset.error) : wanted.delete(button.dataset.error);
    show();
  });
show();
