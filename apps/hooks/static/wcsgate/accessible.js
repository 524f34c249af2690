/* What unfold's pages leave out for screen readers and keyboards.

   Its icons are words in a font of pictures, and would be read out as words: they are hidden, and whatever has no name
   but its icon gets one. What acts on a click can be reached and used by keys. The content of a page is its landmark.
   On a phone the heads of lists stand beside each value, and begin large as they do above it. */
(() => {
    const ICON = ".material-symbols-outlined";
    const ACTS = "[x-on\\:click]:not(a[href], button, input, label, select, textarea, [role])";
    const FOCUSABLE = "a[href], button, input, select, textarea, [tabindex]";
    const NAMES = { dock_to_right: "Navigation", close: "Close the navigation" };

    const find = (root, selector) => [...(root.matches(selector) ? [root] : []), ...root.querySelectorAll(selector)];
    const nameOf = (icon) => NAMES[icon.textContent.trim()] || icon.textContent.trim().replaceAll("_", " ");

    function isNamed(element) {
        if (element.title || element.getAttribute("aria-label") || element.hasAttribute("aria-labelledby")) return true;
        const rest = element.cloneNode(true);
        rest.querySelectorAll(ICON).forEach((icon) => icon.remove());
        return !element.matches(ICON) && Boolean(rest.textContent.trim() || rest.querySelector("img[alt], [title]"));
    }

    function makeButton(element) {
        const isBehind = !element.textContent.trim() && !element.title;  // what a click beside a drawer closes
        if (isBehind || element.querySelector(FOCUSABLE)) return;
        element.setAttribute("role", "button");
        element.tabIndex = 0;
        element.addEventListener("keydown", (event) => {
            if (event.key !== "Enter" && event.key !== " ") return;
            event.preventDefault();
            element.click();
        });
    }

    function nameByIcon(icon) {
        const owner = icon.closest("a, button, [role=button]");
        if (owner && !isNamed(owner)) owner.setAttribute("aria-label", nameOf(icon));
        if (owner !== icon) icon.setAttribute("aria-hidden", "true");
    }

    function improve(root) {
        find(root, ACTS).forEach(makeButton);
        find(root, ICON).forEach(nameByIcon);
        find(root, ".result-list [data-label]").forEach((cell) => {
            cell.dataset.label = cell.dataset.label.replace(/^./, (letter) => letter.toUpperCase());
        });
    }

    document.addEventListener("DOMContentLoaded", () => {
        const content = document.getElementById("content") || document.getElementById("page");
        content?.setAttribute("role", "main");
        document.querySelector(".wcsgate-skip")?.addEventListener("click", (event) => {
            event.preventDefault();  // unfold reads the fragment of an address as the name of a tab
            content.tabIndex = -1;
            content.focus();
        });
        improve(document.body);
        new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) => {
            if (node.nodeType === Node.ELEMENT_NODE) improve(node);
        }))).observe(document.body, { childList: true, subtree: true });
    });
})();
