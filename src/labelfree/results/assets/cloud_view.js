// The interactive cloud: one Plotly scene, a trace per class, buttons for the colourings.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const plot = byId("cloud-plot");
  const about = byId("cloud-about");
  const NO_LABEL = 255;

  const hasWebGL = () => {
    try {
      const canvas = document.createElement("canvas");
      return Boolean(window.WebGLRenderingContext && canvas.getContext("webgl"));
    } catch {
      return false;
    }
  };

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  const decoded = (data) => {
    const steps = new DataView(bytes(data.points).buffer);
    const positions = new Float32Array(data.shown * 3);
    for (let i = 0; i < positions.length; i++) {
      positions[i] = data.low[i % 3] + data.step[i % 3] * steps.getUint16(2 * i, true);
    }
    const heights = new Float32Array(data.shown);
    for (let i = 0; i < data.shown; i++) {
      for (let axis = 0; axis < 3; axis++) heights[i] += data.up[axis] * positions[3 * i + axis];
    }
    const layers = data.layers.map((layer) => ({
      title: layer.title,
      labels: layer.labels && bytes(layer.labels),
      colours: layer.colours && bytes(layer.colours),
    }));
    return { ...data, positions, heights, layers };
  };

  const classesOf = (cloud) => {
    const present = new Set();
    for (const layer of cloud.layers) for (const label of layer.labels || []) present.add(label);
    const known = cloud.classes.map((entry, label) => ({ ...entry, label }));
    known.push({ name: "no label", colour: [128, 128, 128], label: NO_LABEL });
    return known.filter((entry) => present.has(entry.label));
  };

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rgb = (red, green, blue) => `rgb(${red},${green},${blue})`;

  const trace = (cloud, indices, uid, name, colour, size, showlegend) => {
    const take = (axis) => Float32Array.from(indices, (i) => cloud.positions[3 * i + axis]);
    return {
      type: "scatter3d", mode: "markers", uid, name, showlegend,
      x: take(0), y: take(1), z: take(2),
      marker: { size, color: colour, opacity: 1, line: { width: 0 } },
      hovertemplate: `%{x:.2f}, %{y:.2f}, %{z:.2f} m<extra>${name}</extra>`,
    };
  };

  const visiblePoints = (cloud, cut) => {
    let low = Infinity, high = -Infinity;
    for (const height of cloud.heights) { low = Math.min(low, height); high = Math.max(high, height); }
    const limit = cut >= 100 ? Infinity : low + ((high - low) * cut) / 100;
    const kept = [];
    for (let i = 0; i < cloud.shown; i++) if (cloud.heights[i] <= limit) kept.push(i);
    return kept;
  };

  const traces = (cloud, state) => {
    const layer = cloud.layers[state.layer];
    const kept = visiblePoints(cloud, state.cut);
    if (!layer.labels) {
      const colours = kept.map((i) => rgb(layer.colours[3 * i], layer.colours[3 * i + 1], layer.colours[3 * i + 2]));
      return [trace(cloud, kept, "colours", layer.title, colours, state.size, false)];
    }
    const groups = new Map(classesOf(cloud).map((entry) => [entry.label, []]));
    for (const i of kept) groups.get(layer.labels[i]).push(i);
    return classesOf(cloud).map((entry) =>
      trace(cloud, groups.get(entry.label), `class-${entry.label}`, entry.name, rgb(...entry.colour), state.size, true));
  };

  const layout = (cloud, state) => {
    const narrow = plot.clientWidth < 640;
    const vector = ([x, y, z]) => ({ x, y, z });
    const { aspect, centre, eye } = cloud.camera;
    const seenFrom = eye.map((along, i) => centre[i] + (along - centre[i]) * (narrow ? 1.35 : 1));
    const axis = (i) => ({ visible: false, showspikes: false, range: [cloud.low[i], cloud.low[i] + 65535 * cloud.step[i]] });
    return {
      margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      font: { color: css("--ink"), family: "system-ui, sans-serif", size: 12 },
      uirevision: "keep",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--accent") },
      legend: {
        itemsizing: "constant", bgcolor: "rgba(0,0,0,0)", uirevision: "keep", tracegroupgap: 0,
        ...(narrow ? { orientation: "h", x: 0, y: 0, yanchor: "top" } : { x: 1, xanchor: "right", y: 0.94 }),
      },
      scene: {
        xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), aspectmode: "manual", aspectratio: vector(aspect), uirevision: `scene-${state.cloud}`,
        dragmode: "orbit",
        camera: { up: vector(cloud.up), eye: vector(seenFrom), center: vector(centre) },
      },
    };
  };

  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", scrollZoom: true,
    modeBarButtonsToRemove: ["tableRotation", "resetCameraLastSave3d", "hoverClosest3d"],
  };

  const start = (clouds) => {
    const state = { cloud: 0, layer: 0, size: 2, cut: 100 };
    const current = () => clouds[state.cloud];

    const draw = () => {
      const cloud = current();
      byId("cloud-cut-text").textContent = state.cut >= 100 ? "all" : `${state.cut} %`;
      const thinned = cloud.shown < cloud.total ? `${cloud.shown.toLocaleString("en")} of ${cloud.total.toLocaleString("en")} points are shown. ` : "";
      about.textContent = `${thinned}Drag to turn, scroll to come nearer. Click a class to hide it, double-click to see it alone.`;
      Plotly.react(plot, traces(cloud, state), layout(cloud, state), config);
    };

    const showModes = () => {
      const modes = byId("cloud-modes");
      modes.replaceChildren(...current().layers.map((layer, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = layer.title;
        button.setAttribute("aria-pressed", String(index === state.layer));
        button.addEventListener("click", () => { state.layer = index; showModes(); draw(); });
        return button;
      }));
    };

    const choose = (index) => {
      state.cloud = index;
      const titles = current().layers.map((layer) => layer.title);
      const labelled = current().layers.findIndex((layer) => layer.labels);
      state.layer = Math.max(titles.includes("ours") ? titles.indexOf("ours") : labelled, 0);
      state.cut = current().cut;
      byId("cloud-cut").value = state.cut;
      state.size = Math.min(5, Math.max(2, Math.round(4 * Math.sqrt(40000 / current().shown)) / 2));
      byId("cloud-size").value = state.size;
      showModes();
      draw();
    };

    const scene = byId("cloud-scene");
    clouds.forEach((cloud, index) => scene.add(new Option(cloud.name, String(index))));
    scene.parentElement.hidden = clouds.length < 2;
    scene.addEventListener("change", () => choose(Number(scene.value)));
    byId("cloud-size").addEventListener("input", (event) => { state.size = Number(event.target.value); draw(); });
    byId("cloud-cut").addEventListener("input", (event) => { state.cut = Number(event.target.value); draw(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

    plot.hidden = false;
    document.querySelector("#cloud .controls").hidden = false;
    choose(0);
  };

  if (hasWebGL()) {
    start(JSON.parse(byId("clouds").textContent).map(decoded));
  } else {
    about.textContent = "This browser offers no WebGL, which the interactive view needs; the still pictures below show the same clouds.";
  }
})();
