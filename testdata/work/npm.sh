npm() { node /workspace/npm/bin/npm-cli.js --offline --no-audit --no-fund --loglevel=error "$@"; }
mkdir -p dep app; cd dep
printf '{"name":"dep","version":"1.0.0","main":"i.js","bin":{"dep":"i.js"},"scripts":{"postinstall":"node -e 0"}}' > package.json
printf '#!/usr/bin/env node\nmodule.exports = 42; if (require.main === module) console.log("ran")\n' > i.js; chmod +x i.js
npm pack
cd ../app; npm init -y > /dev/null
npm install ../dep/dep-1.0.0.tgz
node -e 'require("assert").equal(require("dep"), 42)'
npm pkg set scripts.test='node -e "process.exit(require(\"dep\") === 42 ? 0 : 1)"'
npm test; npm ci; [ "$(npm exec dep)" = ran ]
