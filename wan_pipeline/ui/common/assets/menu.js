// Menus: the browser opens and closes them (popover); here they are placed, and the arrow keys go from item to item.
(() => {
  const items = menu => [...menu.querySelectorAll("[role=menuitem]")];
  const buttonOf = menu => document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);

  const place = (menu, box) => {
    const fitsBelow = box.bottom + 4 + menu.offsetHeight < innerHeight;
    menu.style.top = `${fitsBelow ? box.bottom + 4 : Math.max(8, box.top - 4 - menu.offsetHeight)}px`;
    menu.style.left = `${Math.max(8, box.right - menu.offsetWidth)}px`;
  };

  // Gradio replaces a list as a whole, and an open menu with it: the one that comes in its place is opened again.
  let open = null;
  const reopen = new MutationObserver(() => {
    const menu = document.getElementById(open.id);
    if (!menu) close(); else if (!menu.matches(":popover-open")) menu.showPopover();
  });
  const close = () => { open = null; reopen.disconnect(); };
  let openedAt = null;  // where the button was, in pixels from the top of the window
  document.addEventListener("beforetoggle", event => {
    if (event.newState === "open") openedAt = buttonOf(event.target)?.getBoundingClientRect().top;
    if (event.newState === "closed" && event.target.id === open?.id) close();
  }, true);
  document.addEventListener("focusin", event => {
    if (open && event.target.closest?.(".menu")?.id === open.id) open.act = event.target.dataset.act;
  });

  document.addEventListener("toggle", event => {
    const menu = event.target;
    if (!menu.matches?.(".menu")) return;
    const isOpen = event.newState === "open", button = buttonOf(menu);
    button?.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen || !button) return;
    open = {id: menu.id, act: open?.id === menu.id ? open.act : ""};
    reopen.observe(document.body, {childList: true, subtree: true});
    place(menu, button.getBoundingClientRect());
    (items(menu).find(item => item.dataset.act === open.act) ?? items(menu)[0])?.focus();
  }, true);

  document.addEventListener("keydown", event => {
    const menu = event.target.closest?.(".menu");
    if (!menu) return;
    if (event.key === "Tab") menu.hidePopover();
    const all = items(menu), at = all.indexOf(document.activeElement);
    const next = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    all.at(next % all.length).focus();
  });

  // What was chosen closes the menu, and so does scrolling, which would part it from its button; not a scroll that ended
  // before the menu opened, of which the browser tells a little later.
  document.addEventListener("click", event => event.target.closest("[role=menuitem]")?.closest(".menu")?.hidePopover());
  document.addEventListener("scroll", event => {
    const menu = document.querySelector(".menu:popover-open");
    if (!menu || menu === event.target || !event.target.contains(menu)) return;
    if (buttonOf(menu)?.getBoundingClientRect().top !== openedAt) menu.hidePopover();
  }, true);
})();
