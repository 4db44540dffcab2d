mkdir -p index/dep src/dep; cd src
printf '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n[project]\nname = "dep"\nversion = "1.0"\n' > pyproject.toml
# The smallest build backend there is: none has to be fetched.
cat > backend.py <<'E'
import zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = 'dep-1.0-py3-none-any.whl'
    with zipfile.ZipFile(directory + '/' + name, 'w') as w:
        w.writestr('dep/__init__.py', 'answer = 42\n')
        w.writestr('dep-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: dep\nVersion: 1.0\n')
        w.writestr('dep-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        w.writestr('dep-1.0.dist-info/RECORD', '')
    return name
E
cd ..; python3 -m venv env; . env/bin/activate
pip wheel --quiet --no-index --no-build-isolation -w index/dep ./src
# A package index on the session's own loopback.
(cd index && python3 -m http.server --bind 127.0.0.1 8765 > /dev/null 2>&1) & server=$!
for _ in $(seq 50); do python3 -c 'import urllib.request; urllib.request.urlopen("http://127.0.0.1:8765/")' 2> /dev/null && break; sleep 0.1; done
pip install --quiet --index-url http://127.0.0.1:8765/ --trusted-host 127.0.0.1 dep
[ "$(python -c 'import dep; print(dep.answer)')" = 42 ]
pip uninstall --quiet -y dep; kill $server
