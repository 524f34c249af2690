/* Completion of the audit log's search box: qualifiers first, then the values that a qualifier has. Names are looked up
   once somebody pauses while typing one; nothing else is sent. */
document.addEventListener("DOMContentLoaded", () => {
    const PAUSE = 200;
    const WORD = /(?:^|\s)(-?(?:[A-Za-z]+:)?(?:"[^"]*"?|\S*))$/;
    const box = document.getElementById("searchbar");
    const list = document.getElementById("search-completions");
    const data = document.getElementById("search-words");
    if (!box || !list || !data) return;
    const words = JSON.parse(data.textContent);
    const named = list.dataset.named.split(" ");
    let chosen = -1, waiting = 0, asking = new AbortController();

    box.setAttribute("role", "combobox");
    box.setAttribute("aria-controls", list.id);
    box.setAttribute("aria-autocomplete", "list");
    box.setAttribute("aria-expanded", "false");
    box.setAttribute("aria-label", "Search the audit log");
    box.setAttribute("autocomplete", "off");
    box.closest("form").appendChild(list);

    const last = () => WORD.exec(box.value.slice(0, box.selectionStart))[1].replace(/^-/, "");

    function offered(word, key, typed) {
        if (key === null) return Object.keys(words).filter((name) => word && name.startsWith(word)).map((name) => name + ":");
        return (words[key.toLowerCase()] || []).filter((value) => value.toLowerCase().startsWith(typed.toLowerCase()))
            .map((value) => `${key}:${/\s/.test(value) ? `"${value}"` : value}`).slice(0, 12);
    }

    function complete() {
        forget();
        const word = last();
        const [, key, typed] = /^([A-Za-z]+):"?([^"]*)/.exec(word) || [word, null, ""];
        const isNamed = key !== null && named.includes(key.toLowerCase());
        show(isNamed ? [] : offered(word, key, typed), word);
        if (isNamed && typed) waiting = setTimeout(() => lookUp(word, key.toLowerCase(), typed), PAUSE);
    }

    async function lookUp(word, of, begins) {
        asking = new AbortController();
        const { signal } = asking;
        try {
            const answer = await fetch(`${list.dataset.names}?${new URLSearchParams({ of, begins })}`, { signal });
            const { found } = answer.ok && !answer.redirected ? await answer.json() : { found: [] };
            if (!signal.aborted) show(found, word);
        } catch (error) {
            if (error.name !== "AbortError") show([], word);  // who types whole names needs no completion
        }
    }

    function forget() {
        clearTimeout(waiting);
        asking.abort();
    }

    function show(texts, word) {
        const choices = texts.filter((text) => text !== word);
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
        const start = until - last().length;
        const after = text.endsWith(":") ? "" : " ";
        box.value = box.value.slice(0, start) + text + after + box.value.slice(until).trimStart();
        box.setSelectionRange(start + text.length + after.length, start + text.length + after.length);
        box.focus();
        complete();
    }

    function choose(step) {
        const items = [...list.children];
        items[chosen]?.removeAttribute("aria-selected");
        chosen = chosen < 0 && step < 0 ? items.length - 1 : (chosen + step + items.length) % items.length;
        items[chosen].setAttribute("aria-selected", "true");
        items[chosen].scrollIntoView({ block: "nearest" });
        box.setAttribute("aria-activedescendant", items[chosen].id);
    }

    function close() {
        forget();
        show([], "");
    }

    box.addEventListener("input", complete);
    box.addEventListener("blur", close);
    box.addEventListener("keydown", (event) => {
        if (event.key === "Escape") close();
        if (list.hidden) return;
        if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            event.preventDefault();
            choose(event.key === "ArrowDown" ? 1 : -1);
        } else if ((event.key === "Enter" || event.key === "Tab") && chosen >= 0) {
            event.preventDefault();
            take(list.children[chosen].textContent);
        }
    });
});
