"""The style of the page: light and dark as the reader's system has it, colours that colour-blind readers tell apart."""

from __future__ import annotations

STYLE = """
:root {
  --paper: #fdfdfc; --raised: #f4f4f1; --ink: #1c1e21; --muted: #5d636b; --grid: #e3e3de; --rule: #c9cac4;
  --projected: #0067a8; --source: #b35900; --native: #6b6f76; --shuffled: #8a6fa8; --limit: #a3324b;
  --good: #1f7a4d; --care: #8a6100; --bad: #a3324b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --raised: #1f2226; --ink: #e8e8e4; --muted: #a2a7ae; --grid: #2c3035; --rule: #464b52;
    --projected: #5cb8f2; --source: #f0a24a; --native: #a9aeb5; --shuffled: #b9a0d6; --limit: #ef7f96;
    --good: #5fc794; --care: #e3b341; --bad: #ef7f96;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: clamp(1.35rem, 4.5vw, 2rem); line-height: 1.2; margin: 0 0 .4rem; font-weight: 650;
  letter-spacing: -.01em; overflow-wrap: anywhere; }
h1 .to { color: var(--muted); font-weight: 400; }
header p { margin: 0; color: var(--muted); }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; font-weight: 650; }
h3 { font-size: 1rem; margin: 0 0 .5rem; font-weight: 600; }
ul { padding-left: 1.2rem; margin: .5rem 0; } li { margin: .25rem 0; overflow-wrap: anywhere; }
.verdict { margin: 1.5rem 0; padding: .9rem 1.1rem; background: var(--raised); border-left: 4px solid var(--rule);
  border-radius: 0 6px 6px 0; }
.verdict h2 { margin: 0; }
.verdict.usable { border-color: var(--good); } .verdict.usable h2 { color: var(--good); }
.verdict.care { border-color: var(--care); } .verdict.care h2 { color: var(--care); }
.verdict.refused { border-color: var(--bad); } .verdict.refused h2 { color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem; margin: 1.5rem 0 2rem; }
.tiles div { display: flex; flex-direction: column; border-top: 2px solid var(--rule); padding-top: .6rem; }
.tiles b { font-size: 2.4rem; line-height: 1.1; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles small { color: var(--muted); font-size: .875rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr));
  gap: 2.25rem 2.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { color: var(--muted); font-size: .9rem; margin-top: .4rem; }
details { font-size: .9rem; margin-top: .4rem; } summary { cursor: pointer; color: var(--muted); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12.5px; }
svg .label { font-size: 14px; font-weight: 600; stroke: var(--paper); stroke-width: 4px; paint-order: stroke;
  stroke-linejoin: round; }
svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
.grid { stroke: var(--grid); } .axis { stroke: var(--rule); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; } .dashed { stroke-dasharray: 5 4; stroke-width: 1.8; }
.area { opacity: .14; } .joint { stroke: var(--rule); stroke-width: 1; fill: none; }
.line.projected { stroke: var(--projected); } .area.projected, .dot.projected { fill: var(--projected); }
.line.source { stroke: var(--source); } .dot.source { fill: var(--source); }
.line.constant { stroke: var(--source); stroke-dasharray: 7 4; } .area.constant { fill: var(--source); }
.line.shuffled { stroke: var(--shuffled); stroke-dasharray: 2 4; stroke-linecap: round; }
.area.shuffled { fill: var(--shuffled); }
.dot.native { fill: none; stroke: var(--native); stroke-width: 1.4; } .line.limit { stroke: var(--limit); }
svg .label.projected { fill: var(--projected); } svg .label.source, svg .label.constant { fill: var(--source); }
svg .label.shuffled { fill: var(--shuffled); } svg .label.native { fill: var(--native); }
svg .label.limit { fill: var(--limit); }
.wide { overflow-x: auto; margin: 0 0 1.25rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .925rem; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--grid); vertical-align: top;
  font-weight: 400; overflow-wrap: anywhere; }
thead th { color: var(--muted); font-size: .85rem; border-color: var(--rule); }
.wide thead th:first-child { color: var(--ink); font-weight: 600; font-size: .925rem; }
tbody th { min-width: 11rem; } .wide td:nth-child(2) { min-width: 5rem; }
@media print { .pictures { display: block; } figure { break-inside: avoid; margin-bottom: 1.5rem; } }
"""
