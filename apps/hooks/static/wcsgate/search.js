/* Completion of the audit log's search box: qualifiers first, then the values that a qualifier has. */
document.addEventListener("DOMContentLoaded", () => {
    const box = document.getElementById("searchbar");
    const list = document.getElementById("search-completions");
    const data = document.getElementById("search-words");
    if (!box || !list || !data) return;
    const words = JSON.parse(data.textContent);
    let chosen = -1;

    box.setAttribute("role", "combobox");
    box.setAttribute("aria-controls", list.id);
    box.setAttribute("aria-autocomplete", "list");
    box.setAttribute("aria-label", "Search the audit log");
    box.setAttribute("autocomplete", "off");
    box.closest("form").appendChild(list);

    const last = () => box.value.slice(0, box.selectionStart).split(/\s+/).pop();

    function offered() {
        const word = last().replace(/^-/, "");
        const colon = word.indexOf(":");
        if (colon < 0) return Object.keys(words).filter((key) => word && key.startsWith(word)).map((key) => key + ":");
        const typed = word.slice(colon + 1).toLowerCase();
        return (words[word.slice(0, colon)] || []).filter((value) => value.toLowerCase().startsWith(typed) && value.toLowerCase() !== typed)
            .map((value) => word.slice(0, colon + 1) + (value.includes(" ") ? `"${value}"` : value));
    }

    function show() {
        const choices = offered().slice(0, 12);
        chosen = -1;
        list.replaceChildren(...choices.map((text, number) => {
            const item = document.createElement("li");
            item.id = `search-completion-${number}`;
            item.role = "option";
            item.textContent = text;
            item.addEventListener("mousedown", (event) => { event.preventDefault(); take(text); });
            return item;
        }));
        list.hidden = !choices.length;
        box.setAttribute("aria-expanded", String(!list.hidden));
        box.removeAttribute("aria-activedescendant");
    }

    function take(text) {
        const until = box.selectionStart;
        const word = last();
        const start = until - word.length + (word.startsWith("-") ? 1 : 0);
        const after = text.endsWith(":") ? "" : " ";
        box.value = box.value.slice(0, start) + text + after + box.value.slice(until).trimStart();
        box.setSelectionRange(start + text.length + after.length, start + text.length + after.length);
        box.focus();
        show();
    }

    function choose(step) {
        const items = [...list.children];
        items[chosen]?.removeAttribute("aria-selected");
        chosen = (chosen + step + items.length) % items.length;
        items[chosen].setAttribute("aria-selected", "true");
        box.setAttribute("aria-activedescendant", items[chosen].id);
    }

    box.addEventListener("input", show);
    box.addEventListener("blur", () => { list.hidden = true; });
    box.addEventListener("keydown", (event) => {
        if (list.hidden) return;
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            choose(event.key === "ArrowDown" ? 1 : -1);
        } else if (event.key === "Escape") {
            list.hidden = true;
        } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
            event.preventDefault();
            take(list.children[chosen].textContent);
        }
    });
});
