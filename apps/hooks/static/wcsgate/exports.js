/* The list of exports: how far they are is brought up to date, until none is being written any longer. */
document.addEventListener("DOMContentLoaded", () => {
    const PAUSE = 2000;

    async function update() {
        const answer = await fetch(location.href, { credentials: "same-origin" }).catch(() => null);
        if (answer && (answer.redirected || !answer.ok)) return;
        if (answer) {
            const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
            for (const cell of document.querySelectorAll("[data-live]")) {
                const now = fresh.querySelector(`[data-live="${cell.dataset.live}"]`);
                if (now && now.outerHTML !== cell.outerHTML) cell.replaceWith(document.adoptNode(now));
            }
        }
        goOn();
    }

    function goOn() {
        if (document.querySelector("[data-unfinished]")) setTimeout(update, PAUSE);
    }

    goOn();
});
