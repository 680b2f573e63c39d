/** Builds src/index.html into one file, build/page.html; `python -m report` puts the data into it. */
import { defineConfig } from "vite";
import { viteSingleFile } from "vite-plugin-singlefile";

export default defineConfig({
  root: "src",
  plugins: [viteSingleFile({ removeViteModuleLoader: true })],
  build: { outDir: "../build", emptyOutDir: false, target: "es2022", chunkSizeWarningLimit: 1000 },
});
