/* Choosing a time in the audit log's timeline: draw over its bars, or Shift with the arrows and then Enter. */
(() => {
    let from = null;  // the bar where choosing began
    let to = null;
    let drawing = false;
    let drawn = false;

    const chartOf = (event) => event.target.closest?.(".wcsgate-when svg");
    const barsOf = (chart) => [...chart.querySelectorAll(".wcsgate-when-bar")];
    const timeOf = (bar) => new URL(bar.getAttribute("href"), location.href);

    function barAt(chart, x) {
        const bars = barsOf(chart);
        const box = chart.getBoundingClientRect();
        const place = Math.floor((x - box.left) / box.width * bars.length);
        return bars[Math.max(0, Math.min(bars.length - 1, place))];
    }

    function chosen(bars) {
        const [first, last] = [bars.indexOf(from), bars.indexOf(to)].sort((a, b) => a - b);
        return first < 0 ? [] : bars.slice(first, last + 1);
    }

    function show(chart) {
        const bars = barsOf(chart);
        const range = chosen(bars);
        bars.forEach((bar) => bar.classList.toggle("wcsgate-when-chosen", range.includes(bar)));
        const said = document.getElementById("timeline-chosen");
        const [since] = range.length > 1 ? range[0].getAttribute("aria-label").split(" to ") : [""];
        said.textContent = since && `Chosen: ${since} to ${range.at(-1).getAttribute("aria-label").split(" to ")[1].split(": ")[0]}`;
    }

    function go(chart) {
        const range = chosen(barsOf(chart));
        const url = timeOf(range[0]);
        url.searchParams.set("until", timeOf(range.at(-1)).searchParams.get("until"));
        location.assign(url);
    }

    function clear(chart) {
        from = to = null;
        drawing = false;
        show(chart);
    }

    document.addEventListener("pointerdown", (event) => {
        const chart = chartOf(event);
        drawn = false;
        if (!chart || event.button !== 0) return;
        from = to = barAt(chart, event.clientX);
        drawing = true;
    });
    document.addEventListener("pointermove", (event) => {
        if (!drawing) return;
        const chart = from.closest("svg");
        to = barAt(chart, event.clientX);
        show(chart);
    });
    document.addEventListener("pointerup", () => {
        if (!drawing) return;
        drawing = false;
        drawn = from !== to;
        if (drawn) go(from.closest("svg"));
    });
    document.addEventListener("pointercancel", () => { if (drawing) clear(from.closest("svg")); });
    document.addEventListener("dragstart", (event) => { if (chartOf(event)) event.preventDefault(); });
    document.addEventListener("click", (event) => {  // a finger that has drawn ends with a click on the bar where it began
        if (drawn && chartOf(event)) event.preventDefault();
        drawn = false;
    }, true);

    document.addEventListener("keydown", (event) => {
        const chart = chartOf(event);
        if (!chart) return;
        const bars = barsOf(chart);
        const here = bars.indexOf(document.activeElement);
        const step = { ArrowLeft: -1, ArrowRight: 1, Home: -bars.length, End: bars.length }[event.key];
        if (step) {
            event.preventDefault();
            const next = bars[Math.max(0, Math.min(bars.length - 1, here + step))];
            from = event.shiftKey ? from || bars[here] : null;
            to = event.shiftKey ? next : null;
            bars.forEach((bar) => bar.setAttribute("tabindex", bar === next ? "0" : "-1"));
            next.focus();
            show(chart);
        } else if (event.key === "Escape") {
            clear(chart);
        } else if (event.key === "Enter" && chosen(bars).length > 1) {
            event.preventDefault();
            go(chart);
        }
    });
})();
