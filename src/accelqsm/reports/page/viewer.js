// Starts the viewer from what lies in this page. The static picture stays until all is drawn, and
// comes back if WebGL 2 is not there or is lost.
(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const box = find("viewer-box");
  const canvas = find("viewer-canvas");
  const status = find("viewer-status");
  const facts = JSON.parse(find("viewer-facts").textContent);
  const packed = (id) => find(id).textContent.trim();

  const hasWebGL = () => {
    try {
      return Boolean(document.createElement("canvas").getContext("webgl2"));
    } catch {
      return false;
    }
  };

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(packed(id)), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  const run = (text) => {
    const script = document.createElement("script");
    script.textContent = text;
    document.head.append(script);
    script.remove();
  };

  const volume = (id, name, options) =>
    niivue.NVImage.loadFromBase64({ base64: packed(id), name: name + ".nii.gz", ...options });

  const loadMap = (map, index) => volume("viewer-map-" + index, "map-" + index, {
    colormap: map.colours, cal_min: map.window[0], cal_max: map.window[1],
  });

  const shown = () => Number(document.querySelector("[name=viewer-map]:checked").value);

  const loadLabels = async () => {
    const labels = await volume("viewer-labels", "labels", { colorbarVisible: false });
    labels.setColormapLabel(facts.colours);
    return labels;
  };

  const show = (viewer, map, labels) => {
    const place = [...viewer.scene.crosshairPos];
    viewer.volumes.slice().forEach((shown) => viewer.removeVolume(shown));
    viewer.addVolume(map);
    viewer.addVolume(labels);
    viewer.setOpacity(1, Number(find("viewer-opacity").value) / 100);
    place.forEach((share, axis) => { viewer.scene.crosshairPos[axis] = share; });
    viewer.createOnLocationChange();
    viewer.drawScene();
    find("viewer-low").value = map.cal_min;
    find("viewer-high").value = map.cal_max;
    find("viewer-unit").textContent = facts.maps[shown()].unit;
  };

  const setWindow = (viewer, map, low, high) => {
    if (!(low < high)) return;
    map.cal_min = low;
    map.cal_max = high;
    viewer.updateGLVolume();
  };

  const say = (place) => {
    const [value, label] = place.values.map((entry) => entry.value);
    const entry = facts.colours.I.indexOf(Math.round(label));
    const region = facts.colours.labels[entry] || "outside the nuclei";
    const mm = Array.from(place.mm).slice(0, 3).map((x) => x.toFixed(0)).join(", ");
    const unit = facts.maps[shown()].unit;
    find("viewer-place").textContent = `${value.toFixed(0)}${unit && " " + unit}, ${region} (${mm} mm)`;
    ["x", "y", "z"].forEach((axis, i) => {
      find("viewer-" + axis).value = String(Math.round(place.frac[i] * 1000));
    });
  };

  const connect = (viewer, maps, labels) => {
    document.getElementsByName("viewer-map").forEach((radio, index) => {
      radio.addEventListener("change", () => show(viewer, maps[index], labels));
    });
    ["viewer-low", "viewer-high"].forEach((id) => {
      find(id).addEventListener("input", () => setWindow(
        viewer, maps[shown()], find("viewer-low").valueAsNumber, find("viewer-high").valueAsNumber,
      ));
    });
    find("viewer-reset").addEventListener("click", () => {
      setWindow(viewer, maps[shown()], ...facts.maps[shown()].window);
      show(viewer, maps[shown()], labels);
    });
    find("viewer-opacity").addEventListener("input", (event) => {
      viewer.setOpacity(1, Number(event.target.value) / 100);
    });
    ["x", "y", "z"].forEach((axis, i) => {
      find("viewer-" + axis).addEventListener("input", (event) => {
        viewer.scene.crosshairPos[i] = Number(event.target.value) / 1000;
        viewer.createOnLocationChange();
        viewer.drawScene();
      });
    });
  };

  const start = async () => {
    if (!hasWebGL()) {
      throw new Error("this browser has no WebGL 2");
    }
    run(await unpacked("viewer-script"));
    const viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [1, 1, 1, 1], crosshairWidth: 0.5,
      dragAndDropEnabled: false, isColorbar: true, isRadiologicalConvention: true,
      isResizeCanvas: true, loadingText: "", multiplanarShowRender: 0,
      multiplanarLayout: 0,
    });
    viewer.addColormap("difference", facts.difference);
    await viewer.attachToCanvas(canvas);
    const maps = await Promise.all(facts.maps.map(loadMap));
    const labels = await loadLabels();
    viewer.onLocationChange = say;
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    facts.start.forEach((share, axis) => { viewer.scene.crosshairPos[axis] = share; });
    show(viewer, maps[0], labels);
    connect(viewer, maps, labels);
    canvas.addEventListener("webglcontextlost", () => rest("the graphics of this browser stopped"));
    canvas.tabIndex = 0;
    canvas.parentElement.classList.add("ready");
    box.hidden = false;
    box.dataset.state = "ready";
    status.textContent = "";
  };

  const rest = (reason) => {
    canvas.parentElement.classList.remove("ready");
    canvas.tabIndex = -1;
    box.hidden = true;
    box.dataset.state = "static";
    find("viewer-place").textContent = "";
    status.textContent = `A static picture is shown: ${reason}.`;
  };

  start().catch((error) => rest(error.message));
})();
