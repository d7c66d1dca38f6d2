// What the pages can do beyond links and forms: times in the zone of the browser, "select all", and plots. Nothing depends on it.
(() => {
    "use strict";

    const two = number => String(number).padStart(2, "0");

    // Writes each time in the browser's zone too. The server has written UTC, and the zone of its own machine if that is another one.
    function localTimes(root) {
        for (const time of root.querySelectorAll("time[datetime]")) {
            const moment = new Date(time.dateTime);
            if (Number.isNaN(moment.getTime())) continue;
            let shown = time.querySelector(".local");
            if (moment.getTimezoneOffset() === 0) {
                shown?.remove();
                continue;
            }
            if (!shown) {
                shown = document.createElement("span");
                shown.className = "local";
                time.prepend(shown, " ");
            }
            shown.textContent = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ` +
                `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
            shown.title = Intl.DateTimeFormat().resolvedOptions().timeZone;
        }
    }

    // A box in the head of a table that checks all boxes of its column.
    function selectAll(root) {
        for (const place of root.querySelectorAll("[data-select-all]")) {
            const table = place.closest("table"), label = place.previousElementSibling;
            if (place.firstChild || !table) continue;
            const all = document.createElement("input");
            all.type = "checkbox";
            all.setAttribute("aria-label", label ? label.textContent : "");
            place.append(all);
            all.addEventListener("change", () => {
                for (const box of table.querySelectorAll("tbody input[type=checkbox]")) box.checked = all.checked;
            });
        }
    }

    const colours = ["--bar-use", "--bar-good", "--bar-bad", "--bar-warn"];

    // How uPlot writes times under a plot: the step in seconds, the text, and what is added where a year, a day or an hour begins.
    const times24 = [
        [86400 * 28, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
        [86400, "{MM}-{DD}", "\n{YYYY}", null, null, null, null, null, 1],
        [60, "{HH}:{mm}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
        [1, "{HH}:{mm}:{ss}", "\n{YYYY}-{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
    ];

    // Draws a plot from the table under it.
    function plots(root) {
        if (typeof uPlot === "undefined") return;
        // A canvas does not know light-dark(), so each colour is read from an element that has it.
        const probe = document.createElement("span");
        document.body.append(probe);
        const colour = name => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
        for (const place of root.querySelectorAll("[data-plot]")) {
            const table = document.getElementById(place.dataset.plot);
            if (!table || place.firstChild) continue;
            const titles = [...table.tHead.rows[0].cells].slice(1).map(cell => cell.textContent);
            const rows = [...table.tBodies[0].rows];
            const times = rows.map(row => Date.parse(row.querySelector("time").dateTime) / 1000);
            const values = titles.map((_, line) => rows.map(row => {
                const text = row.cells[line + 1].dataset.value;
                return text === undefined ? null : Number(text);
            }));
            const hasGap = values[0].includes(null);
            const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
            const lines = titles.map((label, line) => ({
                label, stroke: colour(colours[titles.length > 1 ? line % colours.length : 0]), width: 2, spanGaps: false,
                points: { show: rows.length < 3 || hasGap, size: 3 },
            }));
            const short = value => value >= 1e9 ? `${value / 1e9} G` : value >= 1e6 ? `${value / 1e6} M` : value >= 1e4 ? `${value / 1e3} k` : String(value);
            const size = () => ({ width: Math.max(260, place.clientWidth), height: 200 });
            const plot = new uPlot({
                ...size(), series: [{ value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...lines],
                scales: { y: { range: (_, low, high) => [Math.min(0, low || 0), high > 0 ? high * 1.1 : 1] } },
                axes: [{ ...axis, values: times24 }, { ...axis, size: 60, values: (_, ticks) => ticks.map(short) }],
            }, [times, ...values], place);
            addEventListener("resize", () => plot.setSize(size()));
        }
        probe.remove();
    }

    function start(root) {
        localTimes(root);
        selectAll(root);
        plots(root);
    }

    start(document);
    document.addEventListener("htmx:afterSwap", () => start(document));
    // htmx shows no reply with an error, and the list of the filter before would stay. The page is loaded whole, and says what is wrong.
    document.addEventListener("htmx:responseError", event => {
        if (event.detail.target?.id === "list") location.assign(event.detail.pathInfo.finalRequestPath);
    });
})();
