"""What a caller asks for who wants visible signatures that can be validated for years."""

from base64 import b64encode

from batchseal.client.batch import Wishes
from harness.noise_image import noise_image

LONG_TERM = "LT"


def visible_long_term() -> Wishes:
    """Two lines of text over an image of 20 KB, at level LT."""
    seen = {
        "templateType": "ONE_OFF",
        "oneOffTemplate": r"Digitally signed by $certificate.getCommonName()\n$date",
        "locationType": "COORDINATE",
        "locationValue": "page=1,x=140,y=35",
        "area": "width=250,height=90",
        "areaBackgroundColor": "#EEF4FF",
        "imageType": "IMAGE_PNG",
        "imageValue": b64encode(noise_image()).decode(),
    }
    return Wishes("Invoice issued", "Lisboa", level=LONG_TERM, visible=seen)
