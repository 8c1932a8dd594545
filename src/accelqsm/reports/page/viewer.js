// Starts the viewer from what lies in this page; without WebGL 2 the static picture stays.
(() => {
  "use strict";
  const find = (id) => document.getElementById(id);
  const box = find("viewer-box");
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

  const loadMap = (index) => volume("viewer-map-" + index, "map-" + index, {
    colormap: "gray", cal_min: facts.window_ppb[0], cal_max: facts.window_ppb[1],
  });

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
  };

  const say = (place) => {
    const [value, label] = place.values.map((entry) => entry.value);
    const entry = facts.colours.I.indexOf(Math.round(label));
    const region = facts.colours.labels[entry] || "outside the nuclei";
    const mm = Array.from(place.mm).slice(0, 3).map((x) => x.toFixed(0)).join(", ");
    find("viewer-place").textContent = `${value.toFixed(0)} ppb, ${region} (${mm} mm)`;
    ["x", "y", "z"].forEach((axis, i) => {
      find("viewer-" + axis).value = String(Math.round(place.frac[i] * 1000));
    });
  };

  const connect = (viewer, maps, labels) => {
    document.getElementsByName("viewer-map").forEach((radio, index) => {
      radio.addEventListener("change", () => show(viewer, maps[index], labels));
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
      isResizeCanvas: true, loadingText: "", multiplanarLayout: 3, multiplanarShowRender: 0,
    });
    box.hidden = false;
    await viewer.attachToCanvas(find("viewer-canvas"));
    const maps = await Promise.all(facts.maps.map((_, index) => loadMap(index)));
    const labels = await loadLabels();
    viewer.onLocationChange = say;
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    facts.start.forEach((share, axis) => { viewer.scene.crosshairPos[axis] = share; });
    show(viewer, maps[0], labels);
    connect(viewer, maps, labels);
    find("viewer-static").classList.add("replaced");
    box.dataset.state = "ready";
    status.textContent = "";
  };

  start().catch((error) => {
    box.hidden = true;
    box.dataset.state = "static";
    status.textContent = `A static picture is shown: ${error.message}.`;
  });
})();
