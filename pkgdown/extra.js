// Fills "On this page" from the page's headings, and marks the one that is read.
(function () {
  const nav = document.getElementById("toc");
  const headings = [...document.querySelectorAll("main h2, main h3")].filter(
    (heading) => !heading.hasAttribute("data-toc-skip") && idOf(heading)
  );
  if (!nav || headings.length < 2) {
    if (nav) nav.hidden = true;
    return;
  }

  // pkgdown puts the id on the heading or on the section around it.
  function idOf(heading) {
    return heading.id || (heading.parentElement && heading.parentElement.id);
  }

  const list = document.createElement("ul");
  const links = headings.map((heading) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    item.className = heading.tagName === "H3" ? "toc-sub" : "";
    link.href = "#" + idOf(heading);
    link.textContent = heading.textContent.trim();
    item.append(link);
    list.append(item);
    return link;
  });
  nav.append(list);

  function mark() {
    const read = headings.filter((heading) => heading.getBoundingClientRect().top < 120).length;
    links.forEach((link, i) => link.classList.toggle("active", i === Math.max(0, read - 1)));
  }
  document.addEventListener("scroll", mark, { passive: true });
  mark();
})();
